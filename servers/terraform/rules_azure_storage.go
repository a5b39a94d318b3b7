package main

import "github.com/bulkhead-mcp/bulkhead/servers/internal/finding"

// azureStorage are the rules for storage accounts, databases and messages.
func azureStorage() []Rule {
	accounts := []string{"azurerm_storage_account"}
	const (
		whyTLS     = "TLS 1.0 and 1.1 have known attacks."
		whyTransit = "What clients and servers send each other can be read and changed on the way."
		whyPublic  = "It can be reached from the internet, and only its keys or passwords stand before it. That is the default."
		whyKeys    = "Keys are shared, do not expire, and nobody sees who used them."
	)
	return []Rule{
		{
			ID: "azure/storage-https", Title: "take requests to storage over TLS alone", Severity: finding.High,
			Types: accounts, References: []string{"CKV_AZURE_3", "AZU-0008"},
			Why: whyTransit, Fix: "remove https_traffic_only_enabled, or set it to true",
			Check: anyName(func(path string) demand { return isOn(path, true) }, "https_traffic_only_enabled", "enable_https_traffic_only"),
		},
		{
			ID: "azure/storage-tls", Title: "refuse old TLS at storage", Severity: finding.High,
			Types: accounts, References: []string{"CKV_AZURE_44", "AZU-0011"},
			Why: whyTLS, Fix: "remove min_tls_version, or set it to TLS1_2",
			Check: isOneOf("min_tls_version", "TLS1_2", "TLS1_2", "TLS1_3"),
		},
		{
			ID: "azure/storage-public-blobs", Title: "refuse public containers", Severity: finding.High,
			Types: accounts, References: []string{"CKV_AZURE_190"},
			Why:   "Without it, whoever may set a container's access can publish it. Terraform allows it by default.",
			Fix:   "set allow_nested_items_to_be_public = false",
			Check: anyName(func(path string) demand { return isOff(path, true) }, "allow_nested_items_to_be_public", "allow_blob_public_access"),
		},
		{
			ID: "azure/storage-container-private", Title: "publish no containers", Severity: finding.High,
			Types: []string{"azurerm_storage_container"}, References: []string{"CKV_AZURE_34", "AZU-0007"},
			Why:   "Anybody on the internet can read what is in it.",
			Fix:   "set container_access_type = \"private\"",
			Check: isOneOf("container_access_type", "private", "private"),
		},
		{
			ID: "azure/storage-network", Title: "open storage to named networks alone", Severity: finding.High,
			Types: accounts, References: []string{"CKV_AZURE_35", "AZU-0012"},
			Why: whyPublic, Fix: "add network_rules (or an azurerm_storage_account_network_rules) with default_action = \"Deny\", or set public_network_access_enabled = false",
			Check: anyOf(isOff("public_network_access_enabled", true), isOneOf("network_rules.default_action", "Allow", "Deny"), inReferrer("azurerm_storage_account_network_rules", "storage_account_id", isOneOf("default_action", "", "Deny"))),
		},
		{
			ID: "azure/storage-shared-key", Title: "authorise at storage by Entra ID alone", Severity: finding.Low,
			Types: accounts, References: []string{"https://learn.microsoft.com/azure/storage/common/shared-key-authorization-prevent"},
			Why: whyKeys, Fix: "set shared_access_key_enabled = false",
			Check: isOff("shared_access_key_enabled", true),
		},
		{
			ID: "azure/storage-soft-delete", Title: "keep deleted blobs for a while", Severity: finding.Low,
			Types: accounts, References: []string{"https://learn.microsoft.com/azure/storage/blobs/soft-delete-blob-overview"},
			Why:   "What is deleted, by mistake or by an attacker, is lost without it. Accounts for files have no blobs.",
			Fix:   "add blob_properties.delete_retention_policy",
			Check: unless(isOneOf("account_kind", "StorageV2", "FileStorage"), hasBlock("blob_properties.delete_retention_policy")),
		},
		{
			ID: "azure/storage-replication", Title: "let no other tenant replicate from storage", Severity: finding.Medium,
			Types: accounts, References: []string{"https://learn.microsoft.com/azure/storage/blobs/object-replication-prevent-cross-tenant-policies"},
			Why:   "Whoever may set a policy can copy everything to an account of another tenant.",
			Fix:   "remove cross_tenant_replication_enabled, or set it to false",
			Check: isOff("cross_tenant_replication_enabled", false),
		},
		{
			ID: "azure/sql-public", Title: "keep SQL servers off the internet", Severity: finding.High,
			Types: []string{"azurerm_mssql_server"}, References: []string{"CKV_AZURE_113", "AZU-0022"},
			Why: whyPublic, Fix: "set public_network_access_enabled = false, with a private endpoint",
			Check: isOff("public_network_access_enabled", true),
		},
		{
			ID: "azure/sql-tls", Title: "refuse old TLS at SQL servers", Severity: finding.High,
			Types: []string{"azurerm_mssql_server"}, References: []string{"CKV_AZURE_52", "AZU-0026"},
			Why: whyTLS, Fix: "remove minimum_tls_version, or set it to 1.2",
			Check: isOneOf("minimum_tls_version", "1.2", "1.2", "1.3"),
		},
		{
			ID: "azure/sql-auditing", Title: "audit SQL servers", Severity: finding.Medium,
			Types: []string{"azurerm_mssql_server"}, References: []string{"CKV_AZURE_23", "AZU-0027"},
			Why:   "Who did what cannot be told afterwards without it.",
			Fix:   "add an azurerm_mssql_server_extended_auditing_policy",
			Check: anyOf(hasBlock("extended_auditing_policy"), inReferrer("azurerm_mssql_server_extended_auditing_policy", "server_id", isOn("enabled", true))),
		},
		{
			ID: "azure/sql-audit-retention", Title: "keep audit logs for 90 days", Severity: finding.Low,
			Types: []string{"azurerm_mssql_server_extended_auditing_policy", "azurerm_mssql_database_extended_auditing_policy"}, References: []string{"CKV_AZURE_24", "AZU-0025"},
			Why:   "Intrusions are often found months later. (0, the default, is for ever.)",
			Fix:   "set retention_in_days to 90 or more, or leave it out",
			Check: isNumber("retention_in_days", 0, func(days float64) bool { return days == 0 || days >= 90 }, "want 90 or more, or 0 for ever"),
		},
		{
			ID: "azure/sql-entra-only", Title: "let Entra ID log in to SQL servers", Severity: finding.Medium,
			Types: []string{"azurerm_mssql_server"}, References: []string{"https://learn.microsoft.com/azure/azure-sql/database/authentication-azure-ad-only-authentication"},
			Why:   "Passwords of the server are shared, do not expire, and know no second factor.",
			Fix:   "add azuread_administrator with azuread_authentication_only = true",
			Check: isOn("azuread_administrator.azuread_authentication_only", false),
		},
		{
			ID: "azure/database-firewall-open", Title: "open databases to named addresses alone", Severity: finding.High,
			Types:      []string{"azurerm_mssql_firewall_rule", "azurerm_postgresql_flexible_server_firewall_rule", "azurerm_mysql_flexible_server_firewall_rule", "azurerm_postgresql_firewall_rule", "azurerm_mysql_firewall_rule", "azurerm_mariadb_firewall_rule", "azurerm_sql_firewall_rule"},
			References: []string{"CKV_AZURE_11", "AZU-0029"},
			Why:        "From 0.0.0.0 to 255.255.255.255 is everybody; from 0.0.0.0 to 0.0.0.0 is everything in Azure, also of others.",
			Fix:        "name the addresses that need it, or use a private endpoint",
			Check:      isNarrow("start_ip_address", "end_ip_address"),
		},
		{
			ID: "azure/postgresql-public", Title: "keep PostgreSQL off the internet", Severity: finding.High,
			Types: []string{"azurerm_postgresql_flexible_server", "azurerm_postgresql_server"}, References: []string{"CKV_AZURE_68", "AZU-0022"},
			Why: whyPublic, Fix: "set public_network_access_enabled = false, with delegated_subnet_id or a private endpoint",
			Check: anyOf(isSet("delegated_subnet_id"), isOff("public_network_access_enabled", true)),
		},
		{
			ID: "azure/postgresql-tls", Title: "demand TLS of PostgreSQL's clients", Severity: finding.High,
			Types: []string{"azurerm_postgresql_server", "azurerm_postgresql_flexible_server_configuration"}, References: []string{"CKV_AZURE_29", "AZU-0020"},
			Why: whyTransit, Fix: "set require_secure_transport to on (azurerm_postgresql_server: ssl_enforcement_enabled = true)",
			Check: ofType("azurerm_postgresql_server", isOn("ssl_enforcement_enabled", true), when(isOneOf("name", "", "require_secure_transport"), isOneOf("value", "", "on"))),
		},
		{
			ID: "azure/postgresql-logs", Title: "log connections of PostgreSQL", Severity: finding.Low,
			Types: []string{"azurerm_postgresql_configuration", "azurerm_postgresql_flexible_server_configuration"}, References: []string{"CKV_AZURE_30", "CKV_AZURE_31", "AZU-0019", "AZU-0024"},
			Why:   "Who was connected cannot be told afterwards without it. These are on by default.",
			Fix:   "set log_connections, log_disconnections and log_checkpoints to on",
			Check: when(isOneOf("name", "", "log_connections", "log_disconnections", "log_checkpoints"), isOneOf("value", "", "on")),
		},
		{
			ID: "azure/mysql-public", Title: "keep MySQL off the internet", Severity: finding.High,
			Types: []string{"azurerm_mysql_flexible_server", "azurerm_mysql_server"}, References: []string{"CKV_AZURE_53"},
			Why: whyPublic, Fix: "set public_network_access = \"Disabled\", with delegated_subnet_id or a private endpoint",
			Check: anyOf(isSet("delegated_subnet_id"), isOneOf("public_network_access", "", "Disabled"), isOff("public_network_access_enabled", true)),
		},
		{
			ID: "azure/mysql-tls", Title: "demand TLS of MySQL's clients", Severity: finding.High,
			Types: []string{"azurerm_mysql_server", "azurerm_mysql_flexible_server_configuration"}, References: []string{"CKV_AZURE_28", "AZU-0020"},
			Why: whyTransit, Fix: "set require_secure_transport to ON (azurerm_mysql_server: ssl_enforcement_enabled = true)",
			Check: ofType("azurerm_mysql_server", isOn("ssl_enforcement_enabled", true), when(isOneOf("name", "", "require_secure_transport"), isOneOf("value", "", "on"))),
		},
		{
			ID: "azure/cosmosdb-public", Title: "open Cosmos DB to named networks alone", Severity: finding.High,
			Types: []string{"azurerm_cosmosdb_account"}, References: []string{"CKV_AZURE_99", "CKV_AZURE_101"},
			Why: whyPublic, Fix: "set public_network_access_enabled = false, or ip_range_filter or virtual_network_rule with is_virtual_network_filter_enabled",
			Check: anyOf(isSet("ip_range_filter"), allOf(isOn("is_virtual_network_filter_enabled", false), hasBlock("virtual_network_rule")), isOff("public_network_access_enabled", true)),
		},
		{
			ID: "azure/cosmosdb-local-authentication", Title: "authorise at Cosmos DB by Entra ID alone", Severity: finding.Low,
			Types: []string{"azurerm_cosmosdb_account"}, References: []string{"CKV_AZURE_140"},
			Why: whyKeys, Fix: "set local_authentication_enabled = false (before that name, local_authentication_disabled = true)",
			Check: anyOf(isOn("local_authentication_disabled", false), isOff("local_authentication_enabled", true)),
		},
		{
			ID: "azure/cosmosdb-metadata", Title: "let keys of Cosmos DB change no metadata", Severity: finding.Low,
			Types: []string{"azurerm_cosmosdb_account"}, References: []string{"CKV_AZURE_132"},
			Why:   "Whoever holds a data key can change databases and throughput, past the rights of Azure.",
			Fix:   "set access_key_metadata_writes_enabled = false",
			Check: isOff("access_key_metadata_writes_enabled", true),
		},
		{
			ID: "azure/redis-tls", Title: "reach Redis over TLS alone", Severity: finding.High,
			Types: []string{"azurerm_redis_cache"}, References: []string{"CKV_AZURE_91"},
			Why: whyTransit, Fix: "remove non_ssl_port_enabled, or set it to false",
			Check: anyName(func(path string) demand { return isOff(path, false) }, "non_ssl_port_enabled", "enable_non_ssl_port"),
		},
		{
			ID: "azure/redis-old-tls", Title: "refuse old TLS at Redis", Severity: finding.Medium,
			Types: []string{"azurerm_redis_cache"}, References: []string{"CKV_AZURE_148"},
			Why: whyTLS + " TLS 1.0 is the default.", Fix: "set minimum_tls_version = \"1.2\"",
			Check: isOneOf("minimum_tls_version", "1.0", "1.2", "1.3"),
		},
		{
			ID: "azure/redis-public", Title: "keep Redis off the internet", Severity: finding.Medium,
			Types: []string{"azurerm_redis_cache"}, References: []string{"CKV_AZURE_89"},
			Why: whyPublic, Fix: "set public_network_access_enabled = false, or subnet_id",
			Check: anyOf(isSet("subnet_id"), isOff("public_network_access_enabled", true)),
		},
		{
			ID: "azure/messaging-tls", Title: "refuse old TLS at Service Bus and Event Hubs", Severity: finding.Medium,
			Types: []string{"azurerm_servicebus_namespace", "azurerm_eventhub_namespace"}, References: []string{"CKV_AZURE_205"},
			Why: whyTLS, Fix: "remove minimum_tls_version, or set it to 1.2",
			Check: isOneOf("minimum_tls_version", "1.2", "1.2", "1.3"),
		},
		{
			ID: "azure/messaging-local-authentication", Title: "authorise at Service Bus and Event Hubs by Entra ID alone", Severity: finding.Low,
			Types: []string{"azurerm_servicebus_namespace", "azurerm_eventhub_namespace"}, References: []string{"https://learn.microsoft.com/azure/service-bus-messaging/disable-local-authentication"},
			Why: whyKeys, Fix: "set local_auth_enabled = false (Event Hubs: local_authentication_enabled)",
			Check: ofType("azurerm_eventhub_namespace", isOff("local_authentication_enabled", true), isOff("local_auth_enabled", true)),
		},
		{
			ID: "azure/search-public", Title: "keep AI Search off the internet", Severity: finding.Medium,
			Types: []string{"azurerm_search_service"}, References: []string{"CKV_AZURE_124"},
			Why: whyPublic, Fix: "set public_network_access_enabled = false, or allowed_ips",
			Check: anyOf(isSet("allowed_ips"), isOff("public_network_access_enabled", true)),
		},
		{
			ID: "azure/cognitive-public", Title: "keep AI services off the internet", Severity: finding.Medium,
			Types: []string{"azurerm_cognitive_account"}, References: []string{"CKV_AZURE_134"},
			Why: whyPublic, Fix: "set public_network_access_enabled = false, or network_acls.default_action = \"Deny\"",
			Check: anyOf(isOneOf("network_acls.default_action", "", "Deny"), isOff("public_network_access_enabled", true)),
		},
		{
			ID: "azure/data-factory-public", Title: "keep Data Factory off the internet", Severity: finding.High,
			Types: []string{"azurerm_data_factory"}, References: []string{"CKV_AZURE_104", "AZU-0035"},
			Why: whyPublic, Fix: "set public_network_enabled = false",
			Check: isOff("public_network_enabled", true),
		},
		{
			ID: "azure/synapse-network", Title: "put Synapse in a managed network", Severity: finding.Medium,
			Types: []string{"azurerm_synapse_workspace"}, References: []string{"CKV_AZURE_58", "AZU-0034"},
			Why:   "Its computers share a network with those of others, and can send data anywhere.",
			Fix:   "set managed_virtual_network_enabled = true",
			Check: isOn("managed_virtual_network_enabled", false),
		},
	}
}

// isNarrow demands that a range of addresses is not everybody, and not all of Azure.
func isNarrow(start, end string) demand {
	return func(r *Resource) Result {
		first, last := r.Attr(start), r.Attr(end)
		anybody := both(first.is("0.0.0.0", ""), last.is("255.255.255.255", ""))
		azure := both(first.is("0.0.0.0", ""), last.is("0.0.0.0", ""))
		return every(anybody.because("from 0.0.0.0 to 255.255.255.255 is everybody"), azure.because("from 0.0.0.0 to 0.0.0.0 is everything in Azure"))
	}
}
