package main

import "github.com/bulkhead-mcp/bulkhead/servers/internal/finding"

// awsContainers are the rules for EKS, ECR and ECS.
func awsContainers() []Rule {
	clusters := []string{"aws_eks_cluster"}
	tasks := []string{"aws_ecs_task_definition"}
	return []Rule{
		{
			ID: "aws/eks-public-cidr", Title: "open the API of EKS to named addresses alone", Severity: finding.High,
			Types: clusters, References: []string{"CKV_AWS_38", "AWS-0041"},
			Why:   "The API is open to everybody's guesses and to whatever flaw it has. That is the default.",
			Fix:   "set vpc_config.endpoint_public_access = false, or public_access_cidrs to the addresses that need it",
			Check: anyOf(isOff("vpc_config.endpoint_public_access", true), isClosed("vpc_config.public_access_cidrs")),
		},
		{
			ID: "aws/eks-public-endpoint", Title: "keep the API of EKS in the VPC", Severity: finding.Medium,
			Types: clusters, References: []string{"CKV_AWS_39", "AWS-0040", "EKS.1 of AWS Security Hub"},
			Why:   "What is not on the internet cannot be attacked from there.",
			Fix:   "set vpc_config.endpoint_public_access = false and endpoint_private_access = true",
			Check: isOff("vpc_config.endpoint_public_access", true),
		},
		{
			ID: "aws/eks-secrets", Title: "encrypt the Secrets of EKS with your own key", Severity: finding.High,
			Types: clusters, References: []string{"CKV_AWS_58", "AWS-0039", "EKS.3 of AWS Security Hub"},
			Why:   "Clusters of Kubernetes 1.28 and later encrypt what they store with a key of AWS's; with your own, it can be withdrawn and its use is logged.",
			Fix:   "add encryption_config with resources = [\"secrets\"] and provider.key_arn",
			Check: inSome("encryption_config", holdsAll("resources", "secrets")),
		},
		{
			ID: "aws/eks-logs", Title: "keep the logs of EKS's control plane", Severity: finding.Medium,
			Types: clusters, References: []string{"CKV_AWS_37", "AWS-0038"},
			Why:   "Who did what in the cluster cannot be told afterwards without them.",
			Fix:   "set enabled_cluster_log_types = [\"api\", \"audit\", \"authenticator\", \"controllerManager\", \"scheduler\"]",
			Check: holdsAll("enabled_cluster_log_types", "api", "audit", "authenticator", "controllerManager", "scheduler"),
		},
		{
			ID: "aws/eks-node-ssh", Title: "open SSH of EKS's nodes to named groups", Severity: finding.High,
			Types: []string{"aws_eks_node_group"}, References: []string{"CKV_AWS_100"},
			Why:   "With a key and no source_security_group_ids, EKS opens port 22 of every node to the internet.",
			Fix:   "set remote_access.source_security_group_ids, or remove remote_access and use Session Manager",
			Check: inEach("remote_access", when(isSet("ec2_ssh_key"), isSet("source_security_group_ids"))),
		},
		{
			ID: "aws/ecr-immutable", Title: "make tags in ECR immutable", Severity: finding.Medium,
			Types: []string{"aws_ecr_repository"}, References: []string{"CKV_AWS_51", "AWS-0031"},
			Why:   "Whoever may push can put another image behind a tag that is in use.",
			Fix:   "set image_tag_mutability = \"IMMUTABLE\"",
			Check: isOneOf("image_tag_mutability", "MUTABLE", "IMMUTABLE", "IMMUTABLE_WITH_EXCLUSION"),
		},
		{
			ID: "aws/ecr-scan", Title: "scan images in ECR", Severity: finding.Medium,
			Types: []string{"aws_ecr_repository"}, References: []string{"CKV_AWS_163", "AWS-0030"},
			Why:   "Known vulnerabilities in images are not seen otherwise.",
			Fix:   "set image_scanning_configuration.scan_on_push = true, or add an aws_ecr_registry_scanning_configuration",
			Check: anyOf(inOther("aws_ecr_registry_scanning_configuration", hasBlock("rule")), isOn("image_scanning_configuration.scan_on_push", false)),
		},
		{
			ID: "aws/ecr-policy-public", Title: "let no repository's policy admit everybody", Severity: finding.High,
			Types: []string{"aws_ecr_repository_policy", "aws_ecr_registry_policy"}, References: []string{"CKV_AWS_32", "AWS-0032"},
			Why:   "Any AWS account can pull your images, or push to you.",
			Fix:   "name the principals, or add a condition such as aws:PrincipalOrgID",
			Check: policyAt(openToAnybody, "policy"),
		},
		{
			ID: "aws/ecr-key", Title: "encrypt ECR with your own key", Severity: finding.Low,
			Types: []string{"aws_ecr_repository"}, References: []string{"CKV_AWS_136", "AWS-0033"},
			Why:   "ECR encrypts everything, by default with a key that you can neither restrict nor withdraw.",
			Fix:   "set encryption_configuration.encryption_type = \"KMS\"",
			Check: isOneOf("encryption_configuration.encryption_type", "AES256", "KMS", "KMS_DSSE"),
		},
		{
			ID: "aws/ecs-insights", Title: "watch what runs on ECS", Severity: finding.Low,
			Types: []string{"aws_ecs_cluster"}, References: []string{"CKV_AWS_65", "AWS-0034"},
			Why:   "What a task did, and what it took, cannot be told afterwards without metrics.",
			Fix:   "add setting with name = \"containerInsights\" and value = \"enabled\" or \"enhanced\"",
			Check: inSome("setting", allOf(isOneOf("name", "", "containerInsights"), isOneOf("value", "", "enabled", "enhanced"))),
		},
		{
			ID: "aws/ecs-efs-tls", Title: "reach EFS from ECS over TLS", Severity: finding.High,
			Types: tasks, References: []string{"CKV_AWS_97", "AWS-0035"},
			Why:   "Files can be read and changed on the way. It is off by default.",
			Fix:   "set volume.efs_volume_configuration.transit_encryption = \"ENABLED\"",
			Check: inEach("volume.efs_volume_configuration", isOneOf("transit_encryption", "DISABLED", "ENABLED")),
		},
		{
			ID: "aws/ecs-privileged", Title: "run containers on ECS unprivileged", Severity: finding.High,
			Types: tasks, References: []string{"CKV_AWS_334", "ECS.4 of AWS Security Hub"},
			Why:   "A container that is broken into is root on the host.",
			Fix:   "remove privileged from container_definitions",
			Check: everyContainer(func(c Value) Result { return c.Key("privileged").isNot(true) }),
		},
		{
			ID: "aws/ecs-read-only", Title: "run containers on ECS on a read-only root", Severity: finding.Low,
			Types: tasks, References: []string{"CKV_AWS_336", "ECS.5 of AWS Security Hub"},
			Why:   "Whoever breaks in cannot put programs there.",
			Fix:   "set readonlyRootFilesystem to true in container_definitions",
			Check: everyContainer(func(c Value) Result { return c.Key("readonlyRootFilesystem").isTruly(true) }),
		},
		{
			ID: "aws/ecs-env-secrets", Title: "keep secrets out of ECS's environments", Severity: finding.Critical,
			Types: tasks, References: []string{"AWS-0036", "ECS.8 of AWS Security Hub"},
			Why:   "Whoever may read the task definition can read them, and old revisions stay.",
			Fix:   "name them in secrets, with valueFrom in Secrets Manager or Parameter Store",
			Check: everyContainer(environmentHasNoSecret),
		},
		{
			ID: "aws/ecs-host-namespaces", Title: "share no host namespaces with ECS's tasks", Severity: finding.High,
			Types: tasks, References: []string{"CKV_AWS_335", "ECS.3 of AWS Security Hub"},
			Why:   "A task that sees the host's processes or network sees those of other tasks, and the instance's credentials.",
			Fix:   "remove pid_mode and ipc_mode, and set network_mode = \"awsvpc\"",
			Check: allOf(isNoneOf("pid_mode", "", "host"), isNoneOf("ipc_mode", "", "host"), isNoneOf("network_mode", "", "host")),
		},
		{
			ID: "aws/ecs-public-ip", Title: "give ECS's tasks no public address", Severity: finding.High,
			Types: []string{"aws_ecs_service", "aws_ecs_task_set"}, References: []string{"CKV_AWS_333", "ECS.2 of AWS Security Hub"},
			Why:   "What listens in the task can be reached from the internet.",
			Fix:   "set network_configuration.assign_public_ip = false",
			Check: isOff("network_configuration.assign_public_ip", false),
		},
		{
			ID: "aws/ecs-exec-logging", Title: "log what is executed in ECS's tasks", Severity: finding.Low,
			Types: []string{"aws_ecs_cluster"}, References: []string{"CKV_AWS_223"},
			Why:   "What somebody typed into a container cannot be told afterwards without it.",
			Fix:   "set configuration.execute_command_configuration.logging to DEFAULT or OVERRIDE",
			Check: isNoneOf("configuration.execute_command_configuration.logging", "DEFAULT", "NONE"),
		},
	}
}

// isClosed demands a list of addresses in which everybody is not, and which is not empty.
func isClosed(path string) demand {
	return func(r *Resource) Result {
		v := r.Attr(path)
		if v.empty() {
			return v.unset("everybody")
		}
		return everyAddress(elements(v))
	}
}

// everyContainer demands something of each container of a task definition.
func everyContainer(want func(Value) Result) demand {
	return func(r *Resource) Result { return inDocument(r.Attr("container_definitions"), want) }
}

func environmentHasNoSecret(container Value) Result {
	var results []Result
	for _, variable := range container.Key("environment").Elements() {
		name, _ := variable.Key("name").Text()
		results = append(results, noSecretIn(variable.Key("value"), name))
	}
	return every(results...)
}
