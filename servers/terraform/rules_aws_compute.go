package main

import (
	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// awsCompute are the rules for EC2, Lambda and what else runs code.
func awsCompute() []Rule {
	return []Rule{
		{
			ID: "aws/imdsv2", Title: "demand tokens for instance metadata", Severity: finding.High,
			Types: []string{"aws_instance", "aws_launch_template", "aws_launch_configuration"}, References: []string{"CIS AWS 3.0.0 5.6", "CKV_AWS_79", "AWS-0028", "AWS-0130"},
			Why:   "Without tokens, a request that an application is tricked into (SSRF) brings the credentials of the instance's role. They are optional by default.",
			Fix:   "add metadata_options with http_tokens = \"required\"",
			Check: anyOf(isOneOf("metadata_options.http_endpoint", "enabled", "disabled"), allOf(isUnset("metadata_options.http_tokens"), inOther("aws_ec2_instance_metadata_defaults", isOneOf("http_tokens", "", "required"))), isOneOf("metadata_options.http_tokens", "optional", "required")),
		},
		{
			ID: "aws/instance-public-ip", Title: "give instances no public address", Severity: finding.Medium,
			Types: []string{"aws_instance", "aws_launch_template", "aws_launch_configuration"}, References: []string{"CKV_AWS_88", "AWS-0009"},
			Why:   "What listens on the instance can be reached from the internet. Where nothing is said the subnet decides (aws/subnet-public-ip).",
			Fix:   "set associate_public_ip_address = false, and put a load balancer or NAT in front",
			Check: allOf(isOff("associate_public_ip_address", false), inEach("network_interfaces", isOff("associate_public_ip_address", false))),
		},
		{
			ID: "aws/user-data-secrets", Title: "keep secrets out of user data", Severity: finding.Critical,
			Types: []string{"aws_instance", "aws_launch_template", "aws_launch_configuration"}, References: []string{"CKV_AWS_46", "AWS-0029", "AWS-0129"},
			Why:   "Whoever may describe the instance, and every process on it, can read user data.",
			Fix:   "read the secret when the instance starts, from Secrets Manager or Parameter Store",
			Check: holdsNoSecret("user_data", "user_data_base64"),
		},
		{
			ID: "aws/ami-public", Title: "do not publish machine images", Severity: finding.High,
			Types: []string{"aws_ami_launch_permission"}, References: []string{"https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/ami_launch_permission"},
			Why:   "Everybody on AWS can start the image, and read what is on its disks.",
			Fix:   "name account_id or organization_arn instead of group",
			Check: isNoneOf("group", "", "all"),
		},
		{
			ID: "aws/lambda-env-secrets", Title: "keep secrets out of Lambda's environment", Severity: finding.Critical,
			Types: []string{"aws_lambda_function"}, References: []string{"CKV_AWS_45"},
			Why:   "Whoever may read the function's configuration can read them, and so can the state.",
			Fix:   "pass the name of a secret in Secrets Manager, and read it in the function",
			Check: holdsNoSecret("environment.variables"),
		},
		{
			ID: "aws/lambda-env-key", Title: "encrypt Lambda's environment with your own key", Severity: finding.Low,
			Types: []string{"aws_lambda_function"}, References: []string{"CKV_AWS_173"},
			Why:   "Lambda encrypts it with AWS's key, which everybody who may read the function may use.",
			Fix:   "set kms_key_arn",
			Check: when(hasBlock("environment"), isSet("kms_key_arn")),
		},
		{
			ID: "aws/lambda-tracing", Title: "trace Lambda functions", Severity: finding.Low,
			Types: []string{"aws_lambda_function"}, References: []string{"CKV_AWS_50", "AWS-0066"},
			Why:   "What a function called, and what failed, cannot be told without traces.",
			Fix:   "add tracing_config with mode = \"Active\"",
			Check: isOneOf("tracing_config.mode", "PassThrough", "Active"),
		},
		{
			ID: "aws/lambda-permission-source", Title: "say from where a service may call a function", Severity: finding.High,
			Types: []string{"aws_lambda_permission"}, References: []string{"CKV_AWS_364", "AWS-0067"},
			Why:   "Without a source, anybody's bucket, topic or rule can make the service call the function (a confused deputy).",
			Fix:   "set source_arn or source_account",
			Check: when(isText("principal", "", isService, ""), anyOf(isSet("source_account"), isSet("principal_org_id"), says("neither source_arn nor source_account is set", isSet("source_arn")))),
		},
		{
			ID: "aws/lambda-permission-public", Title: "let not everybody call a function", Severity: finding.Critical,
			Types: []string{"aws_lambda_permission"}, References: []string{"CKV_AWS_301", "Lambda.1 of AWS Security Hub"},
			Why:   "Anybody with an AWS account can call it.",
			Fix:   "name the principal, or set source_arn, source_account or principal_org_id",
			Check: anyOf(isNoneOf("principal", "", "*"), isSet("source_account"), isSet("principal_org_id"), says("principal is \"*\", and nothing bounds it", isSet("source_arn"))),
		},
		{
			ID: "aws/lambda-url-auth", Title: "ask who calls a function's URL", Severity: finding.High,
			Types: []string{"aws_lambda_function_url"}, References: []string{"CKV_AWS_258"},
			Why:   "Anybody on the internet may call it.",
			Fix:   "set authorization_type = \"AWS_IAM\"",
			Check: isOneOf("authorization_type", "", "AWS_IAM"),
		},
		{
			ID: "aws/lambda-runtime", Title: "run Lambda functions on a runtime that is maintained", Severity: finding.Medium,
			Types: []string{"aws_lambda_function"}, References: []string{"CKV_AWS_363", "Lambda.2 of AWS Security Hub"},
			Why:   "A runtime that AWS has deprecated gets no security updates.",
			Fix:   "set runtime to a maintained version",
			Check: isNoneOf("runtime", "", deprecatedRuntimes()...),
		},
		{
			ID: "aws/codebuild-privileged", Title: "build without privileged mode", Severity: finding.Medium,
			Types: []string{"aws_codebuild_project"}, References: []string{"CKV_AWS_316", "CodeBuild.5 of AWS Security Hub"},
			Why:   "A build that escapes from its container is root on the host.",
			Fix:   "set privileged_mode = false, and build images without a Docker daemon",
			Check: inEach("environment", isOff("privileged_mode", false)),
		},
		{
			ID: "aws/codebuild-encryption", Title: "encrypt what builds put out", Severity: finding.Medium,
			Types: []string{"aws_codebuild_project"}, References: []string{"CKV_AWS_78", "AWS-0018"},
			Why:   "Artifacts are code that runs elsewhere. They are encrypted unless this is switched off.",
			Fix:   "set encryption_disabled = false",
			Check: allOf(inEach("artifacts", isOff("encryption_disabled", false)), inEach("secondary_artifacts", isOff("encryption_disabled", false))),
		},
		{
			ID: "aws/codebuild-env-secrets", Title: "keep secrets out of the environment of builds", Severity: finding.Critical,
			Types: []string{"aws_codebuild_project"}, References: []string{"CodeBuild.2 of AWS Security Hub"},
			Why:   "Whoever may read the project, and every build, can read them.",
			Fix:   "set type to PARAMETER_STORE or SECRETS_MANAGER, and value to the name",
			Check: inEach("environment.environment_variable", unless(isOneOf("type", "PLAINTEXT", "PARAMETER_STORE", "SECRETS_MANAGER"), namedValueIsNoSecret("name", "value"))),
		},
		{
			ID: "aws/batch-privileged", Title: "run Batch jobs unprivileged", Severity: finding.High,
			Types: []string{"aws_batch_job_definition"}, References: []string{"CKV_AWS_210"},
			Why: "A job that escapes from its container is root on the host.",
			Fix: "set privileged to false in container_properties",
			Check: func(r *Resource) Result {
				return inDocument(r.Attr("container_properties"), func(v Value) Result { return v.Key("privileged").isNot(true) })
			},
		},
		{
			ID: "aws/sagemaker-internet", Title: "keep SageMaker notebooks off the internet", Severity: finding.High,
			Types: []string{"aws_sagemaker_notebook_instance"}, References: []string{"CKV_AWS_122", "SageMaker.1 of AWS Security Hub"},
			Why:   "Data that the notebook may read can be sent anywhere.",
			Fix:   "set direct_internet_access = \"Disabled\", with subnet_id and security_groups",
			Check: isOneOf("direct_internet_access", "Enabled", "Disabled"),
		},
		{
			ID: "aws/sagemaker-root", Title: "give users of SageMaker notebooks no root", Severity: finding.Medium,
			Types: []string{"aws_sagemaker_notebook_instance"}, References: []string{"CKV_AWS_307", "SageMaker.3 of AWS Security Hub"},
			Why:   "Root can change what runs there, and what is logged.",
			Fix:   "set root_access = \"Disabled\"",
			Check: isOneOf("root_access", "Enabled", "Disabled"),
		},
		{
			ID: "aws/sagemaker-key", Title: "encrypt SageMaker notebooks with your own key", Severity: finding.Low,
			Types: []string{"aws_sagemaker_notebook_instance"}, References: []string{"CKV_AWS_22"},
			Why:   "The policy of AWS's key cannot be changed; with your own, a key can be withdrawn and its use restricted.",
			Fix:   "set kms_key_id",
			Check: isSet("kms_key_id"),
		},
		{
			ID: "aws/workspaces-encryption", Title: "encrypt WorkSpaces", Severity: finding.High,
			Types: []string{"aws_workspaces_workspace"}, References: []string{"CKV_AWS_155", "CKV_AWS_156", "AWS-0109"},
			Why:   "Whoever gets hold of the disk or of a snapshot can read it. It is not encrypted by default.",
			Fix:   "set user_volume_encryption_enabled = true and root_volume_encryption_enabled = true",
			Check: allOf(isOn("user_volume_encryption_enabled", false), isOn("root_volume_encryption_enabled", false)),
		},
		{
			ID: "aws/emr-encryption", Title: "encrypt what EMR stores and sends", Severity: finding.High,
			Types: []string{"aws_emr_security_configuration"}, References: []string{"AWS-0137", "AWS-0138", "AWS-0139"},
			Why: "Clusters with this configuration keep and exchange data in the clear.",
			Fix: "set EnableAtRestEncryption and EnableInTransitEncryption to true in configuration, with their settings",
			Check: func(r *Resource) Result {
				return inDocument(r.Attr("configuration"), func(v Value) Result {
					return every(v.Key("EncryptionConfiguration.EnableAtRestEncryption").isTruly(true), v.Key("EncryptionConfiguration.EnableInTransitEncryption").isTruly(true))
				})
			},
		},
		{
			ID: "aws/emr-public", Title: "keep EMR's block of public access on", Severity: finding.High,
			Types: []string{"aws_emr_block_public_access_configuration"}, References: []string{"CKV_AWS_390", "EMR.2 of AWS Security Hub"},
			Why:   "A cluster whose security group is open to everybody can be started without it.",
			Fix:   "set block_public_security_group_rules = true",
			Check: isOn("block_public_security_group_rules", false),
		},
		{
			ID: "aws/transfer-public", Title: "keep Transfer servers off the internet", Severity: finding.Medium,
			Types: []string{"aws_transfer_server"}, References: []string{"CKV_AWS_164"},
			Why:   "The server's login is open to everybody's guesses.",
			Fix:   "set endpoint_type = \"VPC\" with endpoint_details",
			Check: isOneOf("endpoint_type", "PUBLIC", "VPC", "VPC_ENDPOINT"),
		},
		{
			ID: "aws/transfer-plain-ftp", Title: "transfer no files over plain FTP", Severity: finding.High,
			Types: []string{"aws_transfer_server"}, References: []string{"CKV_AWS_357", "Transfer.2 of AWS Security Hub"},
			Why:   "FTP sends passwords and files in the clear.",
			Fix:   "remove FTP from protocols",
			Check: holdsNone("protocols", func(protocol string) bool { return protocol == "FTP" }),
		},
	}
}

// deprecatedRuntimes are those that AWS lists as deprecated.
// https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtimes.html#runtimes-deprecated
func deprecatedRuntimes() []string {
	return []string{
		"dotnetcore1.0", "dotnetcore2.0", "dotnetcore2.1", "dotnetcore3.1", "dotnet5.0", "dotnet6", "dotnet7", "go1.x", "java8",
		"nodejs", "nodejs4.3", "nodejs4.3-edge", "nodejs6.10", "nodejs8.10", "nodejs10.x", "nodejs12.x", "nodejs14.x", "nodejs16.x", "nodejs18.x",
		"provided", "python2.7", "python3.6", "python3.7", "python3.8", "python3.9", "ruby2.5", "ruby2.7",
	}
}
