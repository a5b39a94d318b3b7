package main

import (
	"strconv"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// googleStorage are the rules for Cloud Storage, BigQuery, Cloud SQL and other stores.
func googleStorage() []Rule {
	buckets := []string{"google_storage_bucket"}
	databases := []string{"google_sql_database_instance"}
	const whyTransit = "What clients and servers send each other can be read and changed on the way."
	return []Rule{
		{
			ID: "google/storage-public", Title: "let not everybody read buckets", Severity: finding.High,
			Types:      append(iamTypes("google_storage_bucket", "google_storage_managed_folder"), "google_storage_bucket_access_control", "google_storage_default_object_access_control", "google_storage_object_access_control", "google_storage_bucket_acl"),
			References: []string{"CIS Google Cloud 2.0.0 5.1", "CKV_GCP_28", "GCP-0001"},
			Why:        "allUsers is everybody on the internet; allAuthenticatedUsers is everybody with a Google account.",
			Fix:        "name the members",
			Check: allOf(grantsNone(whatever, isPublic), holdsNone("entity", isPublicMember), holdsNone("role_entity", func(pair string) bool {
				_, entity, _ := strings.Cut(pair, ":")
				return isPublicMember(entity)
			}), isNoneOf("predefined_acl", "", "publicRead", "publicReadWrite", "authenticatedRead")),
		},
		{
			ID: "google/storage-uniform-access", Title: "control access to buckets in one place", Severity: finding.Medium,
			Types: buckets, References: []string{"CIS Google Cloud 2.0.0 5.2", "CKV_GCP_29", "GCP-0002"},
			Why:   "With ACLs, each object may be public by itself, and nobody sees it.",
			Fix:   "set uniform_bucket_level_access = true",
			Check: isOn("uniform_bucket_level_access", false),
		},
		{
			ID: "google/storage-public-prevention", Title: "refuse public access to buckets", Severity: finding.Medium,
			Types: buckets, References: []string{"CKV_GCP_114"},
			Why:   "Without it, whoever may set the policy can publish the bucket, unless the organisation forbids it.",
			Fix:   "set public_access_prevention = \"enforced\"",
			Check: isOneOf("public_access_prevention", "inherited", "enforced"),
		},
		{
			ID: "google/storage-versioning", Title: "keep versions of objects", Severity: finding.Low,
			Types: buckets, References: []string{"CKV_GCP_78"},
			Why:   "What is overwritten or deleted, by mistake or by an attacker, is lost without versions. A bucket with a retention policy is exempt.",
			Fix:   "set versioning.enabled = true",
			Check: anyOf(hasBlock("retention_policy"), isOn("versioning.enabled", false)),
		},
		{
			ID: "google/storage-logging", Title: "log access to buckets", Severity: finding.Low,
			Types: buckets, References: []string{"CKV_GCP_62"},
			Why:   "Who read or deleted what cannot be told afterwards without it.",
			Fix:   "add logging with log_bucket",
			Check: hasBlock("logging"),
		},
		{
			ID: "google/storage-key", Title: "encrypt buckets with your own key", Severity: finding.Low,
			Types: buckets, References: []string{"GCP-0066"},
			Why:   "Google encrypts everything; with your own key, access can be withdrawn and each use is logged.",
			Fix:   "set encryption.default_kms_key_name",
			Check: isSet("encryption.default_kms_key_name"),
		},
		{
			ID: "google/bigquery-public", Title: "let not everybody read datasets", Severity: finding.Critical,
			Types: append(iamTypes("google_bigquery_dataset", "google_bigquery_table"), "google_bigquery_dataset", "google_bigquery_dataset_access"), References: []string{"CIS Google Cloud 2.0.0 7.1", "CKV_GCP_15", "CKV_GCP_100", "GCP-0046"},
			Why:   "allAuthenticatedUsers is everybody with a Google account.",
			Fix:   "name the members",
			Check: allOf(grantsNone(whatever, isPublic), inEach("access", allOf(holdsNone("special_group", isPublicMember), holdsNone("iam_member", isPublicMember))), holdsNone("special_group", isPublicMember), holdsNone("iam_member", isPublicMember)),
		},
		{
			ID: "google/bigquery-key", Title: "encrypt datasets with your own key", Severity: finding.Low,
			Types: []string{"google_bigquery_dataset"}, References: []string{"CIS Google Cloud 2.0.0 7.3", "CKV_GCP_81"},
			Why:   "Google encrypts everything; with your own key, access can be withdrawn and each use is logged.",
			Fix:   "set default_encryption_configuration.kms_key_name",
			Check: isSet("default_encryption_configuration.kms_key_name"),
		},
		{
			ID: "google/sql-open", Title: "open Cloud SQL to named addresses alone", Severity: finding.Critical,
			Types: databases, References: []string{"CIS Google Cloud 2.0.0 6.5", "CKV_GCP_11", "GCP-0017"},
			Why:   "The database is open to everybody's guesses and to whatever flaw it has.",
			Fix:   "remove the network, and use the Cloud SQL proxy or a private address",
			Check: inEach("settings.ip_configuration.authorized_networks", isAddressed("value")),
		},
		{
			ID: "google/sql-public-ip", Title: "give Cloud SQL no public address", Severity: finding.Medium,
			Types: databases, References: []string{"CIS Google Cloud 2.0.0 6.6", "CKV_GCP_60"},
			Why:   "What is not on the internet cannot be attacked from there. A database has a public address by default.",
			Fix:   "set settings.ip_configuration.ipv4_enabled = false, with private_network",
			Check: isOff("settings.ip_configuration.ipv4_enabled", true),
		},
		{
			ID: "google/sql-tls", Title: "demand TLS of Cloud SQL's clients", Severity: finding.High,
			Types: databases, References: []string{"CIS Google Cloud 2.0.0 6.4", "CKV_GCP_6", "GCP-0015"},
			Why: whyTransit, Fix: "set settings.ip_configuration.ssl_mode = \"ENCRYPTED_ONLY\" (before version 5 of the provider, require_ssl = true)",
			Check: anyOf(isOn("settings.ip_configuration.require_ssl", false), isOneOf("settings.ip_configuration.ssl_mode", "ALLOW_UNENCRYPTED_AND_ENCRYPTED", "ENCRYPTED_ONLY", "TRUSTED_CLIENT_CERTIFICATE_REQUIRED")),
		},
		{
			ID: "google/sql-backup", Title: "back Cloud SQL up", Severity: finding.Medium,
			Types: databases, References: []string{"CIS Google Cloud 2.0.0 6.7", "CKV_GCP_14", "GCP-0024"},
			Why:   "What is lost cannot be restored. Replicas are backed up by way of their primary.",
			Fix:   "set settings.backup_configuration.enabled = true",
			Check: when(isPrimary, isOn("settings.backup_configuration.enabled", false)),
		},
		{
			ID: "google/sql-deletion-protection", Title: "leave Cloud SQL's protection from deletion on", Severity: finding.Low,
			Types: databases, References: []string{"https://registry.terraform.io/providers/hashicorp/google/latest/docs/resources/sql_database_instance"},
			Why:   "One wrong apply deletes it.",
			Fix:   "remove deletion_protection, or set it to true",
			Check: isOn("deletion_protection", true),
		},
		{
			ID: "google/sql-postgres-logs", Title: "log connections and waits of PostgreSQL", Severity: finding.Low,
			Types: databases, References: []string{"CKV_GCP_52", "CKV_GCP_53", "CKV_GCP_54", "GCP-0016", "GCP-0022", "GCP-0020"},
			Why:   "Who was connected, and what waited for what, cannot be told afterwards without it.",
			Fix:   "set the flags log_connections, log_disconnections and log_lock_waits to on",
			Check: when(isEngine("POSTGRES"), allOf(databaseFlag("log_connections", "off", isFlagOn), databaseFlag("log_disconnections", "off", isFlagOn), databaseFlag("log_lock_waits", "off", isFlagOn))),
		},
		{
			ID: "google/sql-postgres-statements", Title: "do not log PostgreSQL's statements by duration", Severity: finding.Low,
			Types: databases, References: []string{"CKV_GCP_57", "GCP-0021"},
			Why:   "Statements have the data in them, and so then do the logs.",
			Fix:   "set the flag log_min_duration_statement to -1, or remove it",
			Check: when(isEngine("POSTGRES"), databaseFlag("log_min_duration_statement", "-1", func(v string) bool { return v == "-1" })),
		},
		{
			ID: "google/sql-mysql-local-infile", Title: "let MySQL read no files of clients", Severity: finding.High,
			Types: databases, References: []string{"CIS Google Cloud 2.0.0 6.1.3", "CKV_GCP_50", "GCP-0026"},
			Why:   "With local_infile, a forged server reads files of whoever connects to it, and statements read files of clients.",
			Fix:   "set the flag local_infile to off",
			Check: when(isEngine("MYSQL"), databaseFlag("local_infile", "off", isFlagOff)),
		},
		{
			ID: "google/sql-server-ownership", Title: "let SQL Server's ownership not reach across databases", Severity: finding.Medium,
			Types: databases, References: []string{"CKV_GCP_58", "GCP-0019"},
			Why:   "The owner of one database reads and writes in others.",
			Fix:   "set the flag \"cross db ownership chaining\" to off",
			Check: when(isEngine("SQLSERVER"), databaseFlag("cross db ownership chaining", "off", isFlagOff)),
		},
		{
			ID: "google/sql-server-contained", Title: "let SQL Server's databases have no logins of their own", Severity: finding.Medium,
			Types: databases, References: []string{"CKV_GCP_59", "GCP-0023"},
			Why:   "Whoever owns a database lets people in past the server's administrator.",
			Fix:   "set the flag \"contained database authentication\" to off",
			Check: when(isEngine("SQLSERVER"), databaseFlag("contained database authentication", "off", isFlagOff)),
		},
		{
			ID: "google/redis-authentication", Title: "ask who uses Memorystore", Severity: finding.Medium,
			Types: []string{"google_redis_instance"}, References: []string{"CKV_GCP_95"},
			Why:   "Whoever reaches it on the network reads and writes everything.",
			Fix:   "set auth_enabled = true",
			Check: isOn("auth_enabled", false),
		},
		{
			ID: "google/redis-tls", Title: "reach Memorystore over TLS", Severity: finding.Medium,
			Types: []string{"google_redis_instance"}, References: []string{"CKV_GCP_97"},
			Why: whyTransit, Fix: "set transit_encryption_mode = \"SERVER_AUTHENTICATION\"",
			Check: isOneOf("transit_encryption_mode", "DISABLED", "SERVER_AUTHENTICATION"),
		},
		{
			ID: "google/pubsub-key", Title: "encrypt topics with your own key", Severity: finding.Low,
			Types: []string{"google_pubsub_topic"}, References: []string{"CKV_GCP_83"},
			Why:   "Google encrypts everything; with your own key, access can be withdrawn and each use is logged.",
			Fix:   "set kms_key_name",
			Check: isSet("kms_key_name"),
		},
		{
			ID: "google/artifact-key", Title: "encrypt repositories of artifacts with your own key", Severity: finding.Low,
			Types: []string{"google_artifact_registry_repository"}, References: []string{"CKV_GCP_84"},
			Why:   "Google encrypts everything; with your own key, access can be withdrawn and each use is logged.",
			Fix:   "set kms_key_name",
			Check: isSet("kms_key_name"),
		},
		{
			ID: "google/artifact-immutable", Title: "make tags of images immutable", Severity: finding.Medium,
			Types: []string{"google_artifact_registry_repository"}, References: []string{"https://cloud.google.com/artifact-registry/docs/docker/troubleshoot#immutable-tags"},
			Why:   "Whoever may push can put another image behind a tag that is in use.",
			Fix:   "set docker_config.immutable_tags = true",
			Check: when(isOneOf("format", "", "DOCKER"), isOn("docker_config.immutable_tags", false)),
		},
		{
			ID: "google/kms-rotation", Title: "rotate keys within 90 days", Severity: finding.Medium,
			Types: []string{"google_kms_crypto_key"}, References: []string{"CIS Google Cloud 2.0.0 1.10", "CKV_GCP_43", "GCP-0065"},
			Why:   "The longer a key is used, the more there is to read with it. Asymmetric keys cannot be rotated so.",
			Fix:   "set rotation_period = \"7776000s\" or less",
			Check: when(isOneOf("purpose", "ENCRYPT_DECRYPT", "ENCRYPT_DECRYPT"), isText("rotation_period", "", isWithin90Days, "want 7776000s or less")),
		},
		{
			ID: "google/kms-public", Title: "let not everybody use keys", Severity: finding.Critical,
			Types: iamTypes("google_kms_crypto_key", "google_kms_key_ring"), References: []string{"CIS Google Cloud 2.0.0 1.9", "CKV_GCP_112"},
			Why:   "allUsers is everybody on the internet; allAuthenticatedUsers is everybody with a Google account.",
			Fix:   "name the members",
			Check: grantsNone(whatever, isPublic),
		},
	}
}

func isFlagOn(value string) bool  { return strings.EqualFold(value, "on") }
func isFlagOff(value string) bool { return strings.EqualFold(value, "off") }

// isAddressed demands that an attribute with an address range is not everybody.
func isAddressed(path string) demand {
	return func(r *Resource) Result { return everyAddress(elements(r.Attr(path))) }
}

// isWithin90Days reads a duration as Google Cloud writes it: 7776000s.
func isWithin90Days(period string) bool {
	seconds, err := strconv.ParseFloat(strings.TrimSuffix(period, "s"), 64)
	return err == nil && seconds > 0 && seconds <= 90*24*60*60
}
