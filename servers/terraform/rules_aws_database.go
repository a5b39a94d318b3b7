package main

import (
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// awsDatabases are the rules for RDS, DynamoDB, caches, search, streams and warehouses.
func awsDatabases() []Rule {
	const (
		whyAtRest  = "Whoever gets hold of the storage, of a snapshot or of a backup can read it. It is not encrypted by default."
		whyTransit = "What clients and nodes send each other can be read and changed on the way."
		whyPublic  = "It gets an address on the internet, and only the security group stands before it."
		whyDelete  = "One wrong apply, or whoever gets hold of the pipeline, deletes it."
		whyLogs    = "Who did what cannot be told afterwards without logs."
	)
	search := []string{"aws_elasticsearch_domain", "aws_opensearch_domain"}
	return []Rule{
		{
			ID: "aws/rds-encryption", Title: "encrypt RDS databases", Severity: finding.High,
			Types: []string{"aws_db_instance"}, References: []string{"CIS AWS 3.0.0 2.3.1", "CKV_AWS_16", "AWS-0080"},
			Why:   whyAtRest + " Replicas are as their source, and what is restored is as its snapshot.",
			Fix:   "set storage_encrypted = true",
			Check: anyOf(isSet("replicate_source_db"), likeSnapshot("storage_encrypted", "snapshot_identifier")),
		},
		{
			ID: "aws/rds-cluster-encryption", Title: "encrypt Aurora and RDS clusters", Severity: finding.High,
			Types: []string{"aws_rds_cluster"}, References: []string{"CKV_AWS_96", "AWS-0079"},
			Why:   whyAtRest + " (Aurora Serverless v1 is.) A cluster's instances are as the cluster.",
			Fix:   "set storage_encrypted = true",
			Check: anyOf(allOf(isOneOf("engine_mode", "provisioned", "serverless"), isOn("storage_encrypted", true)), isSet("replication_source_identifier"), likeSnapshot("storage_encrypted", "snapshot_identifier")),
		},
		{
			ID: "aws/rds-public", Title: "keep RDS databases off the internet", Severity: finding.High,
			Types: []string{"aws_db_instance", "aws_rds_cluster_instance"}, References: []string{"CIS AWS 3.0.0 2.3.3", "CKV_AWS_17", "AWS-0180"},
			Why: whyPublic, Fix: "set publicly_accessible = false",
			Check: isOff("publicly_accessible", false),
		},
		{
			ID: "aws/rds-backup", Title: "back RDS databases up", Severity: finding.Medium,
			Types: []string{"aws_db_instance", "aws_rds_cluster"}, References: []string{"CKV_AWS_133", "AWS-0077"},
			Why:   "What is lost cannot be restored. Terraform makes instances without backups by default, and clusters with those of one day.",
			Fix:   "set backup_retention_period to 7 or more days",
			Check: anyOf(isSet("replicate_source_db"), ofType("aws_rds_cluster", isAtLeast("backup_retention_period", 1, 2), isAtLeast("backup_retention_period", 0, 2))),
		},
		{
			ID: "aws/rds-deletion-protection", Title: "protect RDS databases from deletion", Severity: finding.Medium,
			Types: []string{"aws_db_instance", "aws_rds_cluster"}, References: []string{"CKV_AWS_139", "CKV_AWS_293", "AWS-0177", "AWS-0343"},
			Why: whyDelete, Fix: "set deletion_protection = true",
			Check: anyOf(isSet("replicate_source_db"), isOn("deletion_protection", false)),
		},
		{
			ID: "aws/rds-iam-authentication", Title: "let IAM log in to RDS", Severity: finding.Low,
			Types: []string{"aws_db_instance", "aws_rds_cluster"}, References: []string{"CKV_AWS_161", "CKV_AWS_162", "AWS-0176"},
			Why:   "Passwords live long and are shared; IAM's tokens last a quarter of an hour. Of the engines, MariaDB, MySQL and PostgreSQL can do so.",
			Fix:   "set iam_database_authentication_enabled = true",
			Check: when(isText("engine", "", isOpenEngine, ""), isOn("iam_database_authentication_enabled", false)),
		},
		{
			ID: "aws/rds-minor-upgrades", Title: "let RDS apply minor upgrades", Severity: finding.Low,
			Types: []string{"aws_db_instance", "aws_rds_cluster_instance"}, References: []string{"CIS AWS 3.0.0 2.3.2", "CKV_AWS_226"},
			Why:   "Security fixes come as minor versions.",
			Fix:   "remove auto_minor_version_upgrade, or set it to true",
			Check: isOn("auto_minor_version_upgrade", true),
		},
		{
			ID: "aws/rds-logs", Title: "send RDS logs to CloudWatch", Severity: finding.Low,
			Types: []string{"aws_db_instance", "aws_rds_cluster"}, References: []string{"CKV_AWS_129", "CKV_AWS_324", "RDS.9 of AWS Security Hub"},
			Why: whyLogs, Fix: "set enabled_cloudwatch_logs_exports to the logs of the engine",
			Check: isSet("enabled_cloudwatch_logs_exports"),
		},
		{
			ID: "aws/rds-tls", Title: "leave RDS's demand for TLS on", Severity: finding.Medium,
			Types: []string{"aws_db_parameter_group", "aws_rds_cluster_parameter_group"}, References: []string{"CKV2_AWS_69"},
			Why: whyTransit, Fix: "set rds.force_ssl to 1 (PostgreSQL, SQL Server) or require_secure_transport to 1 (MySQL, MariaDB)",
			Check: inEach("parameter", when(isOneOf("name", "", "rds.force_ssl", "require_secure_transport"), isNoneOf("value", "", "0", "OFF"))),
		},
		{
			ID: "aws/rds-snapshot-public", Title: "do not publish snapshots of databases", Severity: finding.Critical,
			Types: []string{"aws_db_snapshot", "aws_db_snapshot_copy"}, References: []string{"CKV_AWS_302", "RDS.1 of AWS Security Hub"},
			Why:   "Everybody on AWS can restore the snapshot and read the database.",
			Fix:   "remove all from shared_accounts, and name accounts",
			Check: holdsNone("shared_accounts", func(account string) bool { return account == "all" }),
		},
		{
			ID: "aws/dynamodb-recovery", Title: "keep DynamoDB tables restorable", Severity: finding.Medium,
			Types: []string{"aws_dynamodb_table"}, References: []string{"CKV_AWS_28", "AWS-0024"},
			Why:   "What is overwritten or deleted is lost without point-in-time recovery.",
			Fix:   "add point_in_time_recovery with enabled = true",
			Check: isOn("point_in_time_recovery.enabled", false),
		},
		{
			ID: "aws/dynamodb-key", Title: "encrypt DynamoDB tables with your own key", Severity: finding.Low,
			Types: []string{"aws_dynamodb_table"}, References: []string{"CKV_AWS_119", "AWS-0025"},
			Why:   "DynamoDB encrypts everything, by default with a key of its own that you can neither restrict nor withdraw.",
			Fix:   "add server_side_encryption with enabled = true and kms_key_arn",
			Check: allOf(isOn("server_side_encryption.enabled", false), isSet("server_side_encryption.kms_key_arn")),
		},
		{
			ID: "aws/dynamodb-deletion-protection", Title: "protect DynamoDB tables from deletion", Severity: finding.Low,
			Types: []string{"aws_dynamodb_table"}, References: []string{"DynamoDB.6 of AWS Security Hub"},
			Why: whyDelete, Fix: "set deletion_protection_enabled = true",
			Check: isOn("deletion_protection_enabled", false),
		},
		{
			ID: "aws/dax-encryption", Title: "encrypt DAX clusters", Severity: finding.High,
			Types: []string{"aws_dax_cluster"}, References: []string{"CKV_AWS_47", "AWS-0023"},
			Why: whyAtRest, Fix: "add server_side_encryption with enabled = true",
			Check: isOn("server_side_encryption.enabled", false),
		},
		{
			ID: "aws/dax-tls", Title: "reach DAX clusters over TLS", Severity: finding.Medium,
			Types: []string{"aws_dax_cluster"}, References: []string{"CKV_AWS_239", "DynamoDB.7 of AWS Security Hub"},
			Why: whyTransit, Fix: "set cluster_endpoint_encryption_type = \"TLS\"",
			Check: isOneOf("cluster_endpoint_encryption_type", "NONE", "TLS"),
		},
		{
			ID: "aws/elasticache-encryption", Title: "encrypt ElastiCache at rest", Severity: finding.High,
			Types: []string{"aws_elasticache_replication_group"}, References: []string{"CKV_AWS_29", "AWS-0045"},
			Why: "Whoever gets hold of the storage or of a backup can read it. Redis is not encrypted by default; Valkey is.", Fix: "set at_rest_encryption_enabled = true",
			Check: anyOf(isSet("global_replication_group_id"), allOf(isValkey(), isOn("at_rest_encryption_enabled", true)), isOn("at_rest_encryption_enabled", false)),
		},
		{
			ID: "aws/elasticache-tls", Title: "reach ElastiCache over TLS", Severity: finding.High,
			Types: []string{"aws_elasticache_replication_group"}, References: []string{"CKV_AWS_30", "AWS-0051"},
			Why: whyTransit, Fix: "set transit_encryption_enabled = true",
			Check: anyOf(isSet("global_replication_group_id"), allOf(isValkey(), isOn("transit_encryption_enabled", true)), isOn("transit_encryption_enabled", false)),
		},
		{
			ID: "aws/elasticache-authentication", Title: "ask who uses ElastiCache", Severity: finding.Medium,
			Types: []string{"aws_elasticache_replication_group"}, References: []string{"CKV_AWS_31"},
			Why: "Whoever reaches it on the network reads and writes everything.", Fix: "set auth_token, or better user_group_ids, with transit_encryption_enabled",
			Check: anyOf(isSet("global_replication_group_id"), isSet("user_group_ids"), says("neither user_group_ids nor auth_token is set", isSet("auth_token"))),
		},
		{
			ID: "aws/elasticache-backup", Title: "back ElastiCache up", Severity: finding.Low,
			Types: []string{"aws_elasticache_replication_group", "aws_elasticache_cluster"}, References: []string{"CKV_AWS_134", "AWS-0050"},
			Why: "What is lost cannot be restored. memcached has no backups.", Fix: "set snapshot_retention_limit to 1 or more days",
			Check: anyOf(isOneOf("engine", "", "memcached"), ofType("aws_elasticache_cluster", isSet("replication_group_id"), isSet("global_replication_group_id")), isAtLeast("snapshot_retention_limit", 0, 1)),
		},
		{
			ID: "aws/memorydb-tls", Title: "reach MemoryDB over TLS", Severity: finding.High,
			Types: []string{"aws_memorydb_cluster"}, References: []string{"https://docs.aws.amazon.com/memorydb/latest/devguide/in-transit-encryption.html"},
			Why: whyTransit, Fix: "remove tls_enabled, or set it to true",
			Check: isOn("tls_enabled", true),
		},
		{
			ID: "aws/redshift-encryption", Title: "encrypt Redshift clusters", Severity: finding.High,
			Types: []string{"aws_redshift_cluster"}, References: []string{"CKV_AWS_64", "AWS-0084"},
			Why:   "Whoever gets hold of the storage or of a snapshot can read it. It is encrypted by default since January 2025.",
			Fix:   "set encrypted = true, with kms_key_id",
			Check: isOn("encrypted", true),
		},
		{
			ID: "aws/redshift-public", Title: "keep Redshift clusters off the internet", Severity: finding.High,
			Types: []string{"aws_redshift_cluster", "aws_redshiftserverless_workgroup"}, References: []string{"CKV_AWS_87", "Redshift.1 of AWS Security Hub"},
			Why: whyPublic + " Version 5 of the provider does so by default, version 6 does not.", Fix: "set publicly_accessible = false",
			Check: isOff("publicly_accessible", false),
		},
		{
			ID: "aws/redshift-logging", Title: "log what Redshift is asked", Severity: finding.Medium,
			Types: []string{"aws_redshift_cluster"}, References: []string{"CKV_AWS_71", "Redshift.4 of AWS Security Hub"},
			Why: whyLogs, Fix: "add an aws_redshift_logging",
			Check: anyOf(isOn("logging.enable", false), inReferrer("aws_redshift_logging", "cluster_identifier", exists)),
		},
		{
			ID: "aws/redshift-tls", Title: "demand TLS of Redshift's clients", Severity: finding.Medium,
			Types: []string{"aws_redshift_parameter_group"}, References: []string{"CKV_AWS_105", "Redshift.2 of AWS Security Hub"},
			Why: whyTransit, Fix: "add a parameter require_ssl with the value true",
			Check: inSome("parameter", allOf(isOneOf("name", "", "require_ssl"), isOneOf("value", "", "true"))),
		},
		{
			ID: "aws/redshift-routing", Title: "keep Redshift's traffic in the VPC", Severity: finding.Low,
			Types: []string{"aws_redshift_cluster", "aws_redshiftserverless_workgroup"}, References: []string{"CKV_AWS_321", "Redshift.7 of AWS Security Hub"},
			Why:   "COPY and UNLOAD go over the internet, past the VPC's rules and flow logs.",
			Fix:   "set enhanced_vpc_routing = true",
			Check: isOn("enhanced_vpc_routing", false),
		},
		{
			ID: "aws/documentdb-encryption", Title: "encrypt DocumentDB clusters", Severity: finding.High,
			Types: []string{"aws_docdb_cluster"}, References: []string{"CKV_AWS_74", "AWS-0021"},
			Why: whyAtRest, Fix: "set storage_encrypted = true",
			Check: likeSnapshot("storage_encrypted", "snapshot_identifier"),
		},
		{
			ID: "aws/documentdb-logs", Title: "log what DocumentDB is asked", Severity: finding.Medium,
			Types: []string{"aws_docdb_cluster"}, References: []string{"CKV_AWS_85", "AWS-0020"},
			Why: whyLogs, Fix: "set enabled_cloudwatch_logs_exports = [\"audit\", \"profiler\"]",
			Check: isSet("enabled_cloudwatch_logs_exports"),
		},
		{
			ID: "aws/documentdb-tls", Title: "leave DocumentDB's TLS on", Severity: finding.High,
			Types: []string{"aws_docdb_cluster_parameter_group"}, References: []string{"CKV_AWS_90"},
			Why: whyTransit, Fix: "set the parameter tls to enabled, or remove it",
			Check: inEach("parameter", when(isOneOf("name", "", "tls"), isNoneOf("value", "", "disabled"))),
		},
		{
			ID: "aws/neptune-encryption", Title: "encrypt Neptune clusters", Severity: finding.High,
			Types: []string{"aws_neptune_cluster"}, References: []string{"CKV_AWS_44", "AWS-0076"},
			Why: whyAtRest, Fix: "set storage_encrypted = true",
			Check: likeSnapshot("storage_encrypted", "snapshot_identifier"),
		},
		{
			ID: "aws/neptune-logs", Title: "log what Neptune is asked", Severity: finding.Medium,
			Types: []string{"aws_neptune_cluster"}, References: []string{"CKV_AWS_101", "AWS-0075"},
			Why: whyLogs, Fix: "set enable_cloudwatch_logs_exports = [\"audit\"]",
			Check: holdsAll("enable_cloudwatch_logs_exports", "audit"),
		},
		{
			ID: "aws/neptune-public", Title: "keep Neptune off the internet", Severity: finding.High,
			Types: []string{"aws_neptune_cluster_instance"}, References: []string{"CKV_AWS_102"},
			Why: whyPublic, Fix: "set publicly_accessible = false",
			Check: isOff("publicly_accessible", false),
		},
		{
			ID: "aws/search-encryption", Title: "encrypt OpenSearch domains", Severity: finding.High,
			Types: search, References: []string{"CKV_AWS_5", "AWS-0048"},
			Why: whyAtRest, Fix: "add encrypt_at_rest with enabled = true",
			Check: isOn("encrypt_at_rest.enabled", false),
		},
		{
			ID: "aws/search-node-encryption", Title: "encrypt what OpenSearch's nodes send each other", Severity: finding.High,
			Types: search, References: []string{"CKV_AWS_6", "AWS-0043"},
			Why: whyTransit, Fix: "add node_to_node_encryption with enabled = true",
			Check: isOn("node_to_node_encryption.enabled", false),
		},
		{
			ID: "aws/search-https", Title: "serve OpenSearch over TLS alone", Severity: finding.High,
			Types: search, References: []string{"CKV_AWS_83", "AWS-0046"},
			Why: whyTransit, Fix: "add domain_endpoint_options with enforce_https = true",
			Check: allOf(hasBlock("domain_endpoint_options"), isOn("domain_endpoint_options.enforce_https", true)),
		},
		{
			ID: "aws/search-tls-policy", Title: "refuse old TLS at OpenSearch", Severity: finding.High,
			Types: search, References: []string{"CKV_AWS_228", "AWS-0126"},
			Why:   "TLS 1.0 has known attacks, and is allowed by default.",
			Fix:   "set domain_endpoint_options.tls_security_policy = \"Policy-Min-TLS-1-2-PFS-2023-10\"",
			Check: isText("domain_endpoint_options.tls_security_policy", "Policy-Min-TLS-1-0-2019-07", func(policy string) bool { return strings.HasPrefix(policy, "Policy-Min-TLS-1-2") }, "want one that begins with Policy-Min-TLS-1-2"),
		},
		{
			ID: "aws/search-logs", Title: "log what OpenSearch is asked", Severity: finding.Medium,
			Types: search, References: []string{"CKV_AWS_84", "AWS-0042"},
			Why: whyLogs, Fix: "add log_publishing_options",
			Check: allOf(hasBlock("log_publishing_options"), inEach("log_publishing_options", isOn("enabled", true))),
		},
		{
			ID: "aws/search-vpc", Title: "keep OpenSearch in a VPC", Severity: finding.High,
			Types: search, References: []string{"CKV_AWS_137", "Opensearch.2 of AWS Security Hub"},
			Why: "A domain without a VPC has an address on the internet, and only its policy stands before it.", Fix: "add vpc_options",
			Check: hasBlock("vpc_options"),
		},
		{
			ID: "aws/search-policy-public", Title: "let no OpenSearch policy admit everybody", Severity: finding.Critical,
			Types: append([]string{"aws_elasticsearch_domain_policy", "aws_opensearch_domain_policy"}, search...), References: []string{"https://docs.aws.amazon.com/opensearch-service/latest/developerguide/ac.html"},
			Why:   "A statement for the principal * without a condition lets whoever reaches the domain do what it allows.",
			Fix:   "name the principals, or add a condition such as aws:SourceIp",
			Check: policyAt(openToAnybody, "access_policies"),
		},
		{
			ID: "aws/msk-tls", Title: "reach MSK over TLS", Severity: finding.High,
			Types: []string{"aws_msk_cluster"}, References: []string{"CKV_AWS_81", "AWS-0073"},
			Why: whyTransit, Fix: "leave encryption_in_transit out, or set client_broker = \"TLS\" and in_cluster = true",
			Check: allOf(isOneOf("encryption_info.encryption_in_transit.client_broker", "TLS", "TLS"), isOn("encryption_info.encryption_in_transit.in_cluster", true)),
		},
		{
			ID: "aws/msk-logs", Title: "keep the logs of MSK's brokers", Severity: finding.Low,
			Types: []string{"aws_msk_cluster"}, References: []string{"CKV_AWS_80", "AWS-0074"},
			Why: whyLogs, Fix: "add logging_info.broker_logs with cloudwatch_logs, firehose or s3 enabled",
			Check: says("no broker log is enabled", anyOf(isOn("logging_info.broker_logs.cloudwatch_logs.enabled", false), isOn("logging_info.broker_logs.firehose.enabled", false), isOn("logging_info.broker_logs.s3.enabled", false))),
		},
		{
			ID: "aws/msk-public", Title: "keep MSK off the internet", Severity: finding.High,
			Types: []string{"aws_msk_cluster"}, References: []string{"CKV_AWS_291"},
			Why: "The brokers get addresses on the internet.", Fix: "set public_access.type = \"DISABLED\", or remove it",
			Check: isOneOf("broker_node_group_info.connectivity_info.public_access.type", "DISABLED", "DISABLED"),
		},
		{
			ID: "aws/mq-public", Title: "keep MQ brokers off the internet", Severity: finding.High,
			Types: []string{"aws_mq_broker"}, References: []string{"CKV_AWS_69", "AWS-0072"},
			Why: whyPublic, Fix: "set publicly_accessible = false",
			Check: isOff("publicly_accessible", false),
		},
		{
			ID: "aws/mq-logs", Title: "keep the logs of MQ brokers", Severity: finding.Low,
			Types: []string{"aws_mq_broker"}, References: []string{"CKV_AWS_48", "AWS-0070", "AWS-0071"},
			Why: whyLogs, Fix: "add logs with general = true, and with audit = true for ActiveMQ",
			Check: allOf(isOn("logs.general", false), when(isOneOf("engine_type", "", "ActiveMQ"), isOn("logs.audit", false))),
		},
		{
			ID: "aws/kinesis-encryption", Title: "encrypt Kinesis streams", Severity: finding.High,
			Types: []string{"aws_kinesis_stream"}, References: []string{"CKV_AWS_43", "AWS-0064"},
			Why: whyAtRest, Fix: "set encryption_type = \"KMS\" with kms_key_id",
			Check: isOneOf("encryption_type", "NONE", "KMS"),
		},
		{
			ID: "aws/firehose-encryption", Title: "encrypt Firehose streams", Severity: finding.Medium,
			Types: []string{"aws_kinesis_firehose_delivery_stream"}, References: []string{"CKV_AWS_240", "DataFirehose.1 of AWS Security Hub"},
			Why: whyAtRest + " A stream that a Kinesis stream feeds is exempt.", Fix: "add server_side_encryption with enabled = true",
			Check: anyOf(hasBlock("kinesis_source_configuration"), hasBlock("msk_source_configuration"), isOn("server_side_encryption.enabled", false)),
		},
		{
			ID: "aws/athena-encryption", Title: "encrypt Athena's results", Severity: finding.Medium,
			Types: []string{"aws_athena_workgroup"}, References: []string{"CKV_AWS_159", "AWS-0006"},
			Why:   "Results are copies of what was asked for, and Athena encrypts them only as S3 does unless told.",
			Fix:   "add configuration.result_configuration.encryption_configuration",
			Check: hasBlock("configuration.result_configuration.encryption_configuration"),
		},
		{
			ID: "aws/athena-override", Title: "let clients not override Athena's workgroup", Severity: finding.Medium,
			Types: []string{"aws_athena_workgroup"}, References: []string{"CKV_AWS_82", "AWS-0007"},
			Why:   "A client that may override it can write results in the clear, and elsewhere.",
			Fix:   "remove enforce_workgroup_configuration, or set it to true",
			Check: isOn("configuration.enforce_workgroup_configuration", true),
		},
		{
			ID: "aws/glue-catalog-encryption", Title: "encrypt Glue's catalogue", Severity: finding.Medium,
			Types: []string{"aws_glue_data_catalog_encryption_settings"}, References: []string{"CKV_AWS_94"},
			Why:   "Passwords of connections and the shape of all data stand in it.",
			Fix:   "set catalog_encryption_mode = \"SSE-KMS\" and return_connection_password_encrypted = true",
			Check: allOf(isOneOf("data_catalog_encryption_settings.encryption_at_rest.catalog_encryption_mode", "DISABLED", "SSE-KMS", "SSE-KMS-WITH-SERVICE-ROLE"), isOn("data_catalog_encryption_settings.connection_password_encryption.return_connection_password_encrypted", false)),
		},
		{
			ID: "aws/glue-job-encryption", Title: "encrypt what Glue's jobs write", Severity: finding.Medium,
			Types: []string{"aws_glue_security_configuration"}, References: []string{"CKV_AWS_99"},
			Why:   "Logs, bookmarks and results of jobs are copies of the data.",
			Fix:   "set cloudwatch_encryption, job_bookmarks_encryption and s3_encryption to modes with KMS",
			Check: allOf(isOneOf("encryption_configuration.cloudwatch_encryption.cloudwatch_encryption_mode", "DISABLED", "SSE-KMS"), isOneOf("encryption_configuration.job_bookmarks_encryption.job_bookmarks_encryption_mode", "DISABLED", "CSE-KMS"), isOneOf("encryption_configuration.s3_encryption.s3_encryption_mode", "DISABLED", "SSE-KMS", "SSE-S3")),
		},
		{
			ID: "aws/dms-public", Title: "keep DMS off the internet", Severity: finding.High,
			Types: []string{"aws_dms_replication_instance"}, References: []string{"CKV_AWS_89", "DMS.1 of AWS Security Hub"},
			Why: whyPublic, Fix: "set publicly_accessible = false",
			Check: isOff("publicly_accessible", false),
		},
	}
}

// likeSnapshot demands encryption. What is restored from a snapshot is encrypted if that is, which Terraform does
// not show.
func likeSnapshot(path, snapshot string) demand {
	return func(r *Resource) Result {
		from, v := r.Attr(snapshot), r.Attr(path)
		if v.Null() && !from.empty() {
			return Result{Verdict: finding.Unknown, Message: v.path + " is not set, and depends on the snapshot", Reason: "whether " + from.path + " is encrypted", At: from.Location()}
		}
		return isOn(path, false)(r)
	}
}

// isOpenEngine says whether an engine of RDS has logins by IAM.
func isOpenEngine(engine string) bool {
	return slices.Contains([]string{"mysql", "mariadb", "postgres", "aurora", "aurora-mysql", "aurora-postgresql"}, engine)
}

func isValkey() demand { return isOneOf("engine", "redis", "valkey") }
