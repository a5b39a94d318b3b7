package main

import (
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// awsNetwork are the rules for security groups, VPCs, load balancers, CloudFront and API Gateway.
func awsNetwork() []Rule {
	groups := []string{"aws_security_group", "aws_default_security_group", "aws_security_group_rule", "aws_vpc_security_group_ingress_rule"}
	acls := []string{"aws_network_acl", "aws_default_network_acl", "aws_network_acl_rule"}
	balancers := []string{"aws_lb", "aws_alb"}
	listeners := []string{"aws_lb_listener", "aws_alb_listener"}
	const whyOpen = "It is found and attacked within minutes by whoever scans the internet."
	return []Rule{
		{
			ID: "aws/sg-ssh-open", Title: "do not open SSH to everybody", Severity: finding.High,
			Types: groups, References: []string{"CIS AWS 3.0.0 5.2", "CKV_AWS_24", "AWS-0107"},
			Why: whyOpen, Fix: "name the addresses that need it, or use Session Manager and no open port",
			Check: closedToWorld(securityGroupIngress, ssh()),
		},
		{
			ID: "aws/sg-rdp-open", Title: "do not open RDP to everybody", Severity: finding.High,
			Types: groups, References: []string{"CIS AWS 3.0.0 5.2", "CKV_AWS_25", "AWS-0107"},
			Why: whyOpen, Fix: "name the addresses that need it, or use Fleet Manager and no open port",
			Check: closedToWorld(securityGroupIngress, rdp()),
		},
		{
			ID: "aws/sg-all-open", Title: "do not open every port to everybody", Severity: finding.Critical,
			Types: groups, References: []string{"CKV_AWS_277"},
			Why: "Whatever listens, now or later, can be reached from the internet.", Fix: "name the ports and the addresses that need them",
			Check: closedToWorld(securityGroupIngress, everyPort()),
		},
		{
			ID: "aws/sg-database-open", Title: "do not open databases to everybody", Severity: finding.High,
			Types: groups, References: []string{"EC2.19 of AWS Security Hub"},
			Why: whyOpen, Fix: "name the security groups or addresses that need it",
			Check: closedToWorld(securityGroupIngress, databasePorts()...),
		},
		{
			ID: "aws/sg-description", Title: "describe security groups and their rules", Severity: finding.Low,
			Types:      []string{"aws_security_group", "aws_security_group_rule", "aws_vpc_security_group_ingress_rule", "aws_vpc_security_group_egress_rule"},
			References: []string{"CKV_AWS_23", "AWS-0099", "AWS-0124"},
			Why:        "Nobody dares to remove an opening of which nobody knows what it is for.",
			Fix:        "set description to what needs it",
			Check:      allOf(isSet("description"), inEach("ingress", isSet("description")), inEach("egress", isSet("description"))),
		},
		{
			ID: "aws/default-sg-closed", Title: "let the default security group allow nothing", Severity: finding.Low,
			Types: []string{"aws_default_security_group"}, References: []string{"CIS AWS 3.0.0 5.4", "CKV2_AWS_12", "AWS-0173"},
			Why:   "What is created without a security group gets this one.",
			Fix:   "remove every ingress and egress block, which makes Terraform remove the rules",
			Check: allOf(lacksBlock("ingress"), lacksBlock("egress")),
		},
		{
			ID: "aws/nacl-admin-open", Title: "do not open SSH and RDP in network ACLs", Severity: finding.Medium,
			Types: acls, References: []string{"CIS AWS 3.0.0 5.1", "CKV_AWS_231", "CKV_AWS_232", "AWS-0105"},
			Why:   "The ACL is what is left if a security group is too wide.",
			Fix:   "name addresses, or deny the ports 22 and 3389 in a rule with a lower number",
			Check: closedToWorld(networkACLIngress, ssh(), rdp()),
		},
		{
			ID: "aws/nacl-all-open", Title: "do not open every port in network ACLs", Severity: finding.Medium,
			Types: acls, References: []string{"AWS-0102"},
			Why:   "The ACL is what is left if a security group is too wide; one that allows everything is none.",
			Fix:   "name the ports and addresses that the subnet needs",
			Check: closedToWorld(networkACLIngress, everyPort()),
		},
		{
			ID: "aws/subnet-public-ip", Title: "give no public address by default", Severity: finding.Medium,
			Types: []string{"aws_subnet", "aws_default_subnet"}, References: []string{"CKV_AWS_130", "AWS-0164"},
			Why:   "Each instance in the subnet, whoever starts it, gets an address on the internet.",
			Fix:   "set map_public_ip_on_launch = false, and give addresses to what needs one",
			Check: ofType("aws_default_subnet", isOff("map_public_ip_on_launch", true), isOff("map_public_ip_on_launch", false)),
		},
		{
			ID: "aws/vpc-flow-logs", Title: "log what goes through a VPC", Severity: finding.Medium,
			Types: []string{"aws_vpc"}, References: []string{"CIS AWS 3.0.0 3.7", "CKV2_AWS_11", "AWS-0178"},
			Why:   "Without flow logs, what an intruder reached cannot be told.",
			Fix:   "add an aws_flow_log with vpc_id",
			Check: inReferrer("aws_flow_log", "vpc_id", exists),
		},
		{
			ID: "aws/default-vpc", Title: "do not use the default VPC", Severity: finding.Medium,
			Types: []string{"aws_vpc", "aws_default_vpc"}, References: []string{"CKV_AWS_148", "AWS-0101"},
			Why:   "Its subnets are public, and it is the same for everything that names no network.",
			Fix:   "make an aws_vpc with private subnets",
			Check: ofType("aws_default_vpc", never("the default VPC is used"), exists),
		},
		{
			ID: "aws/vpc-endpoint-service-acceptance", Title: "accept connections to endpoint services by hand", Severity: finding.Medium,
			Types: []string{"aws_vpc_endpoint_service"}, References: []string{"CKV_AWS_123"},
			Why:   "Whoever is allowed to ask is connected to the network, unseen.",
			Fix:   "set acceptance_required = true",
			Check: isOn("acceptance_required", false),
		},
		{
			ID: "aws/transit-gateway-acceptance", Title: "accept attachments to transit gateways by hand", Severity: finding.Medium,
			Types: []string{"aws_ec2_transit_gateway"}, References: []string{"CKV_AWS_331", "EC2.23 of AWS Security Hub"},
			Why:   "Any account that the gateway is shared with can join its network to yours.",
			Fix:   "set auto_accept_shared_attachments = \"disable\"",
			Check: isOneOf("auto_accept_shared_attachments", "disable", "disable"),
		},
		{
			ID: "aws/lb-https", Title: "serve load balancers over TLS", Severity: finding.High,
			Types: listeners, References: []string{"CKV_AWS_2", "AWS-0054"},
			Why: "Requests and cookies can be read and changed on the way.", Fix: "set protocol = \"HTTPS\" with a certificate, or redirect to HTTPS",
			Check: anyOf(isNoneOf("protocol", "HTTP", "HTTP"), inReferred("load_balancer_arn", isOneOf("load_balancer_type", "application", "gateway", "network")), says("protocol is HTTP, and there is no redirect to HTTPS", redirectsToHTTPS)),
		},
		{
			ID: "aws/lb-tls-policy", Title: "refuse old TLS at load balancers", Severity: finding.High,
			Types: listeners, References: []string{"CKV_AWS_103", "AWS-0047"},
			Why:   "TLS 1.0 and 1.1 have known attacks. The default policy of Terraform, ELBSecurityPolicy-2016-08, allows both.",
			Fix:   "set ssl_policy to one such as ELBSecurityPolicy-TLS13-1-2-2021-06",
			Check: when(isOneOf("protocol", "HTTP", "HTTPS", "TLS"), isText("ssl_policy", "ELBSecurityPolicy-2016-08", isModernELBPolicy, "want a policy with TLS 1.2 or newer")),
		},
		{
			ID: "aws/lb-drop-invalid-headers", Title: "drop invalid headers at load balancers", Severity: finding.Medium,
			Types: balancers, References: []string{"CKV_AWS_131", "AWS-0052"},
			Why:   "Headers that balancer and server read differently are how requests are smuggled.",
			Fix:   "set drop_invalid_header_fields = true",
			Check: when(isOneOf("load_balancer_type", "application", "application"), isOn("drop_invalid_header_fields", false)),
		},
		{
			ID: "aws/lb-logging", Title: "log access to load balancers", Severity: finding.Low,
			Types: append([]string{"aws_elb"}, balancers...), References: []string{"CKV_AWS_91", "CKV_AWS_92", "ELB.5 of AWS Security Hub"},
			Why: "Who asked for what cannot be told afterwards without it.",
			Fix: "add access_logs with a bucket, and enabled = true",
			Check: ofType("aws_elb", allOf(hasBlock("access_logs"), isOn("access_logs.enabled", true)),
				when(isOneOf("load_balancer_type", "application", "application", "network"), allOf(hasBlock("access_logs"), isOn("access_logs.enabled", false)))),
		},
		{
			ID: "aws/lb-deletion-protection", Title: "protect load balancers from deletion", Severity: finding.Low,
			Types: balancers, References: []string{"CKV_AWS_150", "ELB.6 of AWS Security Hub"},
			Why:   "Whatever stands behind it goes with it.",
			Fix:   "set enable_deletion_protection = true",
			Check: isOn("enable_deletion_protection", false),
		},
		{
			ID: "aws/elb-https", Title: "serve classic load balancers over TLS", Severity: finding.High,
			Types: []string{"aws_elb"}, References: []string{"ELB.3 of AWS Security Hub"},
			Why:   "Requests and cookies can be read and changed on the way.",
			Fix:   "set lb_protocol to https or ssl, with a certificate",
			Check: inEach("listener", isOneOf("lb_protocol", "", "https", "ssl")),
		},
		{
			ID: "aws/cloudfront-https", Title: "serve CloudFront over TLS alone", Severity: finding.High,
			Types: []string{"aws_cloudfront_distribution"}, References: []string{"CKV_AWS_34", "AWS-0012"},
			Why:   "Requests and cookies can be read and changed on the way.",
			Fix:   "set viewer_protocol_policy to redirect-to-https or https-only, in every behaviour",
			Check: allOf(isNoneOf("default_cache_behavior.viewer_protocol_policy", "", "allow-all"), inEach("ordered_cache_behavior", isNoneOf("viewer_protocol_policy", "", "allow-all"))),
		},
		{
			ID: "aws/cloudfront-tls", Title: "refuse old TLS at CloudFront", Severity: finding.High,
			Types: []string{"aws_cloudfront_distribution"}, References: []string{"CKV_AWS_174", "AWS-0013"},
			Why: "TLS 1.0 and 1.1 have known attacks. With CloudFront's own certificate TLSv1 is allowed, whatever is set.",
			Fix: "use a certificate of your own, and set minimum_protocol_version = \"TLSv1.2_2021\"",
			Check: allOf(isOff("viewer_certificate.cloudfront_default_certificate", false),
				isText("viewer_certificate.minimum_protocol_version", "TLSv1", func(v string) bool { return strings.HasPrefix(v, "TLSv1.2") || strings.HasPrefix(v, "TLSv1.3") }, "want TLSv1.2_2021 or newer")),
		},
		{
			ID: "aws/cloudfront-origin-tls", Title: "reach CloudFront's origins over TLS", Severity: finding.Medium,
			Types: []string{"aws_cloudfront_distribution"}, References: []string{"CloudFront.9 and CloudFront.10 of AWS Security Hub"},
			Why:   "What the viewer sent encrypted goes on to the origin in the clear, or with old TLS.",
			Fix:   "set origin_protocol_policy = \"https-only\", and origin_ssl_protocols = [\"TLSv1.2\"]",
			Check: inEach("origin.custom_origin_config", allOf(isOneOf("origin_protocol_policy", "", "https-only", "match-viewer"), holdsNone("origin_ssl_protocols", func(v string) bool { return v != "TLSv1.2" }))),
		},
		{
			ID: "aws/cloudfront-logging", Title: "log access to CloudFront", Severity: finding.Medium,
			Types: []string{"aws_cloudfront_distribution"}, References: []string{"CKV_AWS_86", "AWS-0010"},
			Why:   "Who asked for what cannot be told afterwards without it.",
			Fix:   "add logging_config with a bucket, or an aws_cloudwatch_log_delivery_source for the distribution",
			Check: anyOf(inReferrer("aws_cloudwatch_log_delivery_source", "resource_arn", exists), hasBlock("logging_config")),
		},
		{
			ID: "aws/cloudfront-waf", Title: "put a WAF before CloudFront", Severity: finding.Low,
			Types: []string{"aws_cloudfront_distribution"}, References: []string{"CKV_AWS_68", "AWS-0011"},
			Why:   "Nothing stops known attacks and floods before they reach the application.",
			Fix:   "set web_acl_id to the ARN of an aws_wafv2_web_acl",
			Check: isSet("web_acl_id"),
		},
		{
			ID: "aws/apigateway-logging", Title: "log access to API Gateway", Severity: finding.Medium,
			Types: []string{"aws_api_gateway_stage", "aws_apigatewayv2_stage"}, References: []string{"CKV_AWS_76", "CKV_AWS_95", "AWS-0001"},
			Why:   "Who called what cannot be told afterwards without it.",
			Fix:   "add access_log_settings with a destination_arn",
			Check: hasBlock("access_log_settings"),
		},
		{
			ID: "aws/apigateway-tls", Title: "refuse old TLS at API Gateway", Severity: finding.High,
			Types: []string{"aws_api_gateway_domain_name", "aws_apigatewayv2_domain_name"}, References: []string{"CKV_AWS_206", "AWS-0005"},
			Why: "TLS 1.0 has known attacks.",
			Fix: "set security_policy = \"TLS_1_2\"",
			Check: allOf(
				ofType("aws_apigatewayv2_domain_name", exists, isText("security_policy", "TLS_1_2", isModernAPIPolicy, "want TLS_1_2 or newer")),
				inEach("domain_name_configuration", isText("security_policy", "", isModernAPIPolicy, "want TLS_1_2 or newer"))),
		},
		{
			ID: "aws/apigateway-authorization", Title: "ask who calls an API", Severity: finding.Medium,
			Types: []string{"aws_api_gateway_method", "aws_apigatewayv2_route"}, References: []string{"CKV_AWS_59", "CKV_AWS_309", "AWS-0004"},
			Why: "Anybody on the internet may call the method. OPTIONS and methods with an API key are exempt.",
			Fix: "set authorization (or authorization_type) to AWS_IAM, CUSTOM, JWT or COGNITO_USER_POOLS, or make the API private",
			Check: anyOf(isOneOf("http_method", "", "OPTIONS"), isOn("api_key_required", false),
				allOf(ofType("aws_apigatewayv2_route", exists, isNoneOf("authorization", "NONE", "NONE")), ofType("aws_api_gateway_method", exists, isNoneOf("authorization_type", "NONE", "NONE")))),
		},
		{
			ID: "aws/apigateway-cache-encryption", Title: "encrypt the caches of API Gateway", Severity: finding.Medium,
			Types: []string{"aws_api_gateway_method_settings"}, References: []string{"CKV_AWS_308", "AWS-0002"},
			Why:   "A cache holds answers that were meant for one caller.",
			Fix:   "set cache_data_encrypted = true where caching_enabled is true",
			Check: when(isOn("settings.caching_enabled", false), isOn("settings.cache_data_encrypted", false)),
		},
	}
}

// isModernELBPolicy says whether a security policy of load balancers has no TLS below 1.2.
func isModernELBPolicy(policy string) bool {
	return strings.HasPrefix(policy, "ELBSecurityPolicy-TLS13-1-2") || strings.HasPrefix(policy, "ELBSecurityPolicy-TLS13-1-3") ||
		strings.HasPrefix(policy, "ELBSecurityPolicy-TLS-1-2") || strings.HasPrefix(policy, "ELBSecurityPolicy-FS-1-2")
}

// isModernAPIPolicy says whether a security policy of API Gateway has no TLS below 1.2.
func isModernAPIPolicy(policy string) bool { return policy != "" && policy != "TLS_1_0" }

// redirectsToHTTPS demands that all that a listener does is to redirect to HTTPS.
func redirectsToHTTPS(r *Resource) Result {
	return allOf(hasBlock("default_action"), inEach("default_action", allOf(isOneOf("type", "", "redirect"), isOneOf("redirect.protocol", "", "HTTPS"))))(r)
}
