package main

import "github.com/bulkhead-mcp/bulkhead/servers/internal/finding"

// awsLogging are the rules for what is logged, watched and sent.
func awsLogging() []Rule {
	trails := []string{"aws_cloudtrail"}
	return []Rule{
		{
			ID: "aws/cloudtrail-validation", Title: "make CloudTrail's logs tamper-evident", Severity: finding.High,
			Types: trails, References: []string{"CIS AWS 3.0.0 3.2", "CKV_AWS_36", "AWS-0016"},
			Why:   "Without digests, a log file that somebody changed or deleted is not noticed.",
			Fix:   "set enable_log_file_validation = true",
			Check: isOn("enable_log_file_validation", false),
		},
		{
			ID: "aws/cloudtrail-key", Title: "encrypt CloudTrail's logs with your own key", Severity: finding.Medium,
			Types: trails, References: []string{"CIS AWS 3.0.0 3.5", "CKV_AWS_35", "AWS-0015"},
			Why:   "With a key of KMS, reading the logs takes a right to the key, too.",
			Fix:   "set kms_key_id",
			Check: isSet("kms_key_id"),
		},
		{
			ID: "aws/cloudtrail-regions", Title: "log all regions", Severity: finding.Medium,
			Types: trails, References: []string{"CIS AWS 3.0.0 3.1", "CKV_AWS_67", "AWS-0014"},
			Why:   "An intruder works where nobody looks.",
			Fix:   "set is_multi_region_trail = true",
			Check: isOn("is_multi_region_trail", false),
		},
		{
			ID: "aws/cloudtrail-on", Title: "leave CloudTrail on", Severity: finding.High,
			Types: trails, References: []string{"CKV_AWS_251"},
			Why:   "Who did what cannot be told afterwards without it.",
			Fix:   "remove enable_logging, or set it to true",
			Check: isOn("enable_logging", true),
		},
		{
			ID: "aws/cloudtrail-cloudwatch", Title: "send CloudTrail's logs to CloudWatch", Severity: finding.Low,
			Types: trails, References: []string{"CKV2_AWS_10", "AWS-0162"},
			Why:   "Alarms can be raised on what is there; files in a bucket are read afterwards, if at all.",
			Fix:   "set cloud_watch_logs_group_arn and cloud_watch_logs_role_arn",
			Check: isSet("cloud_watch_logs_group_arn"),
		},
		{
			ID: "aws/log-group-retention", Title: "keep logs for a year", Severity: finding.Low,
			Types: []string{"aws_cloudwatch_log_group"}, References: []string{"CKV_AWS_66", "CKV_AWS_338", "CloudWatch.16 of AWS Security Hub"},
			Why:   "Intrusions are often found months later. (0, the default, is for ever.)",
			Fix:   "set retention_in_days to 365 or more, or leave it out",
			Check: isNumber("retention_in_days", 0, func(days float64) bool { return days == 0 || days >= 365 }, "want 365 or more, or 0 for ever"),
		},
		{
			ID: "aws/log-group-key", Title: "encrypt logs with your own key", Severity: finding.Low,
			Types: []string{"aws_cloudwatch_log_group"}, References: []string{"CKV_AWS_158", "AWS-0017"},
			Why:   "CloudWatch encrypts everything with a key of its own, which everybody who may read the logs may use.",
			Fix:   "set kms_key_id",
			Check: isSet("kms_key_id"),
		},
		{
			ID: "aws/config-regions", Title: "gather AWS Config's records of all regions", Severity: finding.Medium,
			Types: []string{"aws_config_configuration_aggregator"}, References: []string{"CKV_AWS_121", "AWS-0019"},
			Why:   "What is made in a region that nobody uses is not seen.",
			Fix:   "set all_regions = true in account_aggregation_source or organization_aggregation_source",
			Check: allOf(inEach("account_aggregation_source", isOn("all_regions", false)), inEach("organization_aggregation_source", isOn("all_regions", false))),
		},
		{
			ID: "aws/config-recorder", Title: "record all kinds of resources in AWS Config", Severity: finding.Low,
			Types: []string{"aws_config_configuration_recorder"}, References: []string{"CIS AWS 3.0.0 3.3", "Config.1 of AWS Security Hub"},
			Why:   "How a resource came to be as it is cannot be told without records.",
			Fix:   "set recording_group.all_supported = true and include_global_resource_types = true",
			Check: allOf(isOn("recording_group.all_supported", true), isOn("recording_group.include_global_resource_types", false)),
		},
		{
			ID: "aws/guardduty-on", Title: "leave GuardDuty on", Severity: finding.Medium,
			Types: []string{"aws_guardduty_detector"}, References: []string{"GuardDuty.1 of AWS Security Hub"},
			Why:   "It is what notices credentials and machines that behave as stolen ones do.",
			Fix:   "remove enable, or set it to true",
			Check: isOn("enable", true),
		},
		{
			ID: "aws/waf-logging", Title: "log what a WAF decides", Severity: finding.Low,
			Types: []string{"aws_wafv2_web_acl"}, References: []string{"CKV2_AWS_31", "WAF.11 of AWS Security Hub"},
			Why:   "What was tried, and what was let through, cannot be told without it.",
			Fix:   "add an aws_wafv2_web_acl_logging_configuration",
			Check: inReferrer("aws_wafv2_web_acl_logging_configuration", "resource_arn", exists),
		},
		{
			ID: "aws/sns-encryption", Title: "encrypt SNS topics", Severity: finding.Medium,
			Types: []string{"aws_sns_topic"}, References: []string{"CKV_AWS_26", "AWS-0095"},
			Why:   "Messages are stored in the clear until they are delivered, unless a key is named.",
			Fix:   "set kms_master_key_id",
			Check: isSet("kms_master_key_id"),
		},
		{
			ID: "aws/sns-policy-public", Title: "let no topic's policy admit everybody", Severity: finding.High,
			Types: []string{"aws_sns_topic", "aws_sns_topic_policy"}, References: []string{"CKV_AWS_169"},
			Why:   "Any AWS account can send to the topic, or listen to it.",
			Fix:   "name the principals, or add a condition such as aws:SourceArn",
			Check: policyAt(openToAnybody, "policy"),
		},
		{
			ID: "aws/sqs-encryption", Title: "encrypt SQS queues", Severity: finding.High,
			Types: []string{"aws_sqs_queue"}, References: []string{"CKV_AWS_27", "AWS-0096"},
			Why:   "Messages are stored until they are taken. SQS encrypts them with a key of its own by default since October 2022.",
			Fix:   "remove sqs_managed_sse_enabled, or set kms_master_key_id",
			Check: anyOf(isSet("kms_master_key_id"), isOn("sqs_managed_sse_enabled", true)),
		},
		{
			ID: "aws/sqs-policy-public", Title: "let no queue's policy admit everybody", Severity: finding.High,
			Types: []string{"aws_sqs_queue", "aws_sqs_queue_policy"}, References: []string{"CKV_AWS_168", "SQS.3 of AWS Security Hub"},
			Why:   "Any AWS account can send to the queue, or take from it.",
			Fix:   "name the principals, or add a condition such as aws:SourceArn",
			Check: policyAt(openToAnybody, "policy"),
		},
		{
			ID: "aws/sqs-policy-wildcard", Title: "allow named actions on queues", Severity: finding.Medium,
			Types: []string{"aws_sqs_queue", "aws_sqs_queue_policy"}, References: []string{"CKV_AWS_72", "AWS-0097"},
			Why:   "Who may send can also take, delete and change who else may.",
			Fix:   "name the actions, such as sqs:SendMessage",
			Check: policyAt(allowsAllOfQueue, "policy"),
		},
	}
}

// allowsAllOfQueue fails for a statement that allows every action of SQS.
func allowsAllOfQueue(s statement) Result {
	return both(s.actsAs(wholeService), s.allows()).because("a statement allows every action on the queue")
}
