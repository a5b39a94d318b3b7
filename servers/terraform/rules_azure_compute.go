package main

import (
	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// azureCompute are the rules for networks, machines, applications and containers.
func azureCompute() []Rule {
	groups := []string{"azurerm_network_security_group", "azurerm_network_security_rule"}
	linux := []string{"azurerm_linux_virtual_machine", "azurerm_linux_virtual_machine_scale_set"}
	machines := append([]string{"azurerm_windows_virtual_machine", "azurerm_windows_virtual_machine_scale_set"}, linux...)
	apps := []string{"azurerm_linux_web_app", "azurerm_windows_web_app", "azurerm_linux_function_app", "azurerm_windows_function_app", "azurerm_linux_web_app_slot", "azurerm_windows_web_app_slot", "azurerm_linux_function_app_slot", "azurerm_windows_function_app_slot", "azurerm_app_service", "azurerm_function_app"}
	clusters := []string{"azurerm_kubernetes_cluster"}
	const whyOpen = "It is found and attacked within minutes by whoever scans the internet."
	return []Rule{
		{
			ID: "azure/nsg-ssh-open", Title: "do not open SSH to everybody", Severity: finding.High,
			Types: groups, References: []string{"CKV_AZURE_10", "AZU-0050"},
			Why: whyOpen, Fix: "name the addresses that need it, or use Azure Bastion",
			Check: closedToWorld(azureIngress, ssh()),
		},
		{
			ID: "azure/nsg-rdp-open", Title: "do not open RDP to everybody", Severity: finding.High,
			Types: groups, References: []string{"CKV_AZURE_9", "AZU-0048"},
			Why: whyOpen, Fix: "name the addresses that need it, or use Azure Bastion",
			Check: closedToWorld(azureIngress, rdp()),
		},
		{
			ID: "azure/nsg-all-open", Title: "do not open every port to everybody", Severity: finding.Critical,
			Types: groups, References: []string{"AZU-0047"},
			Why: "Whatever listens, now or later, can be reached from the internet.", Fix: "name the ports and the addresses that need them",
			Check: closedToWorld(azureIngress, everyPort()),
		},
		{
			ID: "azure/nsg-database-open", Title: "do not open databases to everybody", Severity: finding.High,
			Types: groups, References: []string{"https://learn.microsoft.com/azure/virtual-network/network-security-groups-overview"},
			Why: whyOpen, Fix: "name the addresses or application security groups that need it",
			Check: closedToWorld(azureIngress, databasePorts()...),
		},
		{
			ID: "azure/flow-log-retention", Title: "keep flow logs for 90 days", Severity: finding.Low,
			Types: []string{"azurerm_network_watcher_flow_log"}, References: []string{"CKV_AZURE_12", "AZU-0049"},
			Why:   "Intrusions are often found months later. (0 is for ever.)",
			Fix:   "set enabled = true and retention_policy with enabled = true and days = 90",
			Check: allOf(isOn("enabled", false), isOn("retention_policy.enabled", false), isNumber("retention_policy.days", 0, func(days float64) bool { return days == 0 || days >= 90 }, "want 90 or more, or 0 for ever")),
		},
		{
			ID: "azure/nic-ip-forwarding", Title: "let network interfaces forward no packets", Severity: finding.Medium,
			Types: []string{"azurerm_network_interface"}, References: []string{"CKV_AZURE_118"},
			Why:   "The machine can send as others, and pass traffic around network rules.",
			Fix:   "set ip_forwarding_enabled = false, unless it is a router",
			Check: anyName(func(path string) demand { return isOff(path, false) }, "ip_forwarding_enabled", "enable_ip_forwarding"),
		},
		{
			ID: "azure/nic-public-ip", Title: "give network interfaces no public address", Severity: finding.Medium,
			Types: []string{"azurerm_network_interface"}, References: []string{"CKV_AZURE_119"},
			Why:   "What listens on the machine can be reached from the internet.",
			Fix:   "remove public_ip_address_id, and put a load balancer, NAT gateway or Bastion in front",
			Check: inEach("ip_configuration", isUnset("public_ip_address_id")),
		},
		{
			ID: "azure/gateway-waf", Title: "put a WAF into application gateways", Severity: finding.Medium,
			Types: []string{"azurerm_application_gateway"}, References: []string{"CKV_AZURE_120"},
			Why:   "Nothing stops known attacks before they reach the application.",
			Fix:   "set firewall_policy_id, with a WAF_v2 sku",
			Check: anyOf(isSet("firewall_policy_id"), isOn("waf_configuration.enabled", false)),
		},
		{
			ID: "azure/gateway-tls", Title: "refuse old TLS at application gateways", Severity: finding.High,
			Types: []string{"azurerm_application_gateway"}, References: []string{"CKV_AZURE_218"},
			Why:   "TLS 1.0 and 1.1 have known attacks, and the default policy of 2015 allows them.",
			Fix:   "set ssl_policy with policy_type = \"Predefined\" and policy_name = \"AppGwSslPolicy20220101\"",
			Check: anyOf(isOneOf("ssl_policy.policy_name", "AppGwSslPolicy20150501", "AppGwSslPolicy20170401S", "AppGwSslPolicy20220101", "AppGwSslPolicy20220101S"), isOneOf("ssl_policy.min_protocol_version", "", "TLSv1_2", "TLSv1_3")),
		},
		{
			ID: "azure/front-door-https", Title: "serve Front Door over TLS alone", Severity: finding.High,
			Types: []string{"azurerm_cdn_frontdoor_route"}, References: []string{"https://learn.microsoft.com/azure/frontdoor/end-to-end-tls"},
			Why:   "Requests and cookies can be read and changed on the way.",
			Fix:   "remove https_redirect_enabled, or set it to true",
			Check: isOn("https_redirect_enabled", true),
		},
		{
			ID: "azure/vm-password", Title: "log in to Linux by key alone", Severity: finding.High,
			Types: linux, References: []string{"CKV_AZURE_49", "CKV_AZURE_149", "CKV_AZURE_178", "AZU-0039"},
			Why:   "Passwords can be guessed.",
			Fix:   "remove disable_password_authentication, or set it to true",
			Check: isOn("disable_password_authentication", true),
		},
		{
			ID: "azure/vm-host-encryption", Title: "encrypt temporary disks and caches", Severity: finding.Medium,
			Types: machines, References: []string{"CKV_AZURE_97", "CKV_AZURE_151"},
			Why:   "Azure encrypts disks; temporary disks, caches and what goes to storage are encrypted at the host alone.",
			Fix:   "set encryption_at_host_enabled = true",
			Check: isOn("encryption_at_host_enabled", false),
		},
		{
			ID: "azure/vm-secure-boot", Title: "boot what is signed", Severity: finding.Low,
			Types: machines, References: []string{"https://learn.microsoft.com/azure/virtual-machines/trusted-launch"},
			Why:   "A changed boot loader or kernel starts unseen.",
			Fix:   "set secure_boot_enabled = true and vtpm_enabled = true",
			Check: allOf(isOn("secure_boot_enabled", false), isOn("vtpm_enabled", false)),
		},
		{
			ID: "azure/vm-custom-data-secrets", Title: "keep secrets out of custom data", Severity: finding.Critical,
			Types: append([]string{"azurerm_virtual_machine"}, machines...), References: []string{"CKV_AZURE_45", "AZU-0037"},
			Why:   "Every process on the machine can read it.",
			Fix:   "read the secret from Key Vault when the machine starts",
			Check: holdsNoSecret("custom_data", "user_data", "os_profile.custom_data"),
		},
		{
			ID: "azure/disk-encryption", Title: "leave the encryption of disks on", Severity: finding.High,
			Types: []string{"azurerm_managed_disk"}, References: []string{"CKV_AZURE_2", "AZU-0038"},
			Why:   "Azure encrypts managed disks unless it is told not to.",
			Fix:   "remove encryption_settings.enabled, or set it to true",
			Check: isOn("encryption_settings.enabled", true),
		},
		{
			ID: "azure/disk-network", Title: "export no disks over the internet", Severity: finding.Medium,
			Types: []string{"azurerm_managed_disk"}, References: []string{"https://learn.microsoft.com/azure/virtual-machines/disks-restrict-import-export-overview"},
			Why:   "Whoever gets hold of a link for export downloads the disk from anywhere. That is the default.",
			Fix:   "set public_network_access_enabled = false, and network_access_policy to DenyAll or AllowPrivate",
			Check: anyOf(isOneOf("network_access_policy", "AllowAll", "DenyAll", "AllowPrivate"), isOff("public_network_access_enabled", true)),
		},
		{
			ID: "azure/app-https", Title: "serve applications over TLS alone", Severity: finding.High,
			Types: apps, References: []string{"CKV_AZURE_14", "CKV_AZURE_70", "AZU-0004"},
			Why:   "Requests and cookies can be read and changed on the way. Plain HTTP is served by default.",
			Fix:   "set https_only = true",
			Check: isOn("https_only", false),
		},
		{
			ID: "azure/app-tls", Title: "refuse old TLS at applications", Severity: finding.High,
			Types: apps, References: []string{"CKV_AZURE_15", "CKV_AZURE_145", "AZU-0006"},
			Why:   "TLS 1.0 and 1.1 have known attacks.",
			Fix:   "remove site_config.minimum_tls_version, or set it to 1.2",
			Check: anyName(func(path string) demand { return isOneOf(path, "1.2", "1.2", "1.3") }, "site_config.minimum_tls_version", "site_config.min_tls_version"),
		},
		{
			ID: "azure/app-ftp", Title: "deploy nothing over plain FTP", Severity: finding.Medium,
			Types: apps, References: []string{"CKV_AZURE_78"},
			Why:   "FTP sends passwords and files in the clear.",
			Fix:   "remove site_config.ftps_state, or set it to Disabled or FtpsOnly",
			Check: ofType("azurerm_app_service", isNoneOf("site_config.ftps_state", "AllAllowed", "AllAllowed"), ofType("azurerm_function_app", isNoneOf("site_config.ftps_state", "AllAllowed", "AllAllowed"), isNoneOf("site_config.ftps_state", "Disabled", "AllAllowed"))),
		},
		{
			ID: "azure/app-remote-debugging", Title: "leave remote debugging off", Severity: finding.High,
			Types: apps, References: []string{"CKV_AZURE_72"},
			Why:   "It opens ports through which code is run.",
			Fix:   "remove site_config.remote_debugging_enabled, or set it to false",
			Check: isOff("site_config.remote_debugging_enabled", false),
		},
		{
			ID: "azure/app-identity", Title: "give applications an identity", Severity: finding.Low,
			Types: apps, References: []string{"CKV_AZURE_71", "AZU-0002"},
			Why:   "Without one, keys and passwords lie in settings.",
			Fix:   "add identity with type = \"SystemAssigned\"",
			Check: hasBlock("identity"),
		},
		{
			ID: "azure/app-cors", Title: "let not every site call applications", Severity: finding.Medium,
			Types: apps, References: []string{"CKV_AZURE_57", "CKV_AZURE_62"},
			Why:   "Any page that a user opens can call the application in the user's name, if it takes credentials.",
			Fix:   "name the sites in site_config.cors.allowed_origins",
			Check: holdsNone("site_config.cors.allowed_origins", func(origin string) bool { return origin == "*" }),
		},
		{
			ID: "azure/app-basic-authentication", Title: "deploy without passwords", Severity: finding.Low,
			Types:      []string{"azurerm_linux_web_app", "azurerm_windows_web_app", "azurerm_linux_function_app", "azurerm_windows_function_app"},
			References: []string{"https://learn.microsoft.com/azure/app-service/configure-basic-auth-disable"},
			Why:        "A publishing profile has a password that does not expire, and knows no second factor.",
			Fix:        "set ftp_publish_basic_authentication_enabled = false and webdeploy_publish_basic_authentication_enabled = false",
			Check:      allOf(isOff("ftp_publish_basic_authentication_enabled", true), isOff("webdeploy_publish_basic_authentication_enabled", true)),
		},
		{
			ID: "azure/app-settings-secrets", Title: "keep secrets out of settings", Severity: finding.High,
			Types: apps, References: []string{"https://learn.microsoft.com/azure/app-service/app-service-key-vault-references"},
			Why:   "Whoever may read the application's settings, and the state, can read them.",
			Fix:   "refer to Key Vault: @Microsoft.KeyVault(SecretUri=…)",
			Check: holdsNoSecret("app_settings"),
		},
		{
			ID: "azure/aks-authorized-ips", Title: "open the API of AKS to named addresses alone", Severity: finding.High,
			Types: clusters, References: []string{"CKV_AZURE_6", "AZU-0041"},
			Why:   "The API is open to everybody's guesses and to whatever flaw it has. That is the default.",
			Fix:   "set api_server_access_profile.authorized_ip_ranges, or private_cluster_enabled = true",
			Check: anyOf(isOn("private_cluster_enabled", false), anyName(isClosed, "api_server_access_profile.authorized_ip_ranges", "api_server_authorized_ip_ranges")),
		},
		{
			ID: "azure/aks-rbac", Title: "leave AKS's RBAC on", Severity: finding.High,
			Types: clusters, References: []string{"CKV_AZURE_5", "AZU-0042"},
			Why:   "Whoever is let in may do everything.",
			Fix:   "remove role_based_access_control_enabled, or set it to true",
			Check: isOn("role_based_access_control_enabled", true),
		},
		{
			ID: "azure/aks-local-accounts", Title: "log in to AKS by Entra ID alone", Severity: finding.Medium,
			Types: clusters, References: []string{"CKV_AZURE_141"},
			Why:   "The local administrator's certificate is shared, and cannot be withdrawn.",
			Fix:   "set local_account_disabled = true, with azure_active_directory_role_based_access_control",
			Check: isOn("local_account_disabled", false),
		},
		{
			ID: "azure/aks-network-policy", Title: "enforce network policies in AKS", Severity: finding.Medium,
			Types: clusters, References: []string{"CKV_AZURE_7", "AZU-0043"},
			Why:   "Every pod reaches every other one without them.",
			Fix:   "set network_profile.network_policy to azure, calico or cilium",
			Check: isSet("network_profile.network_policy"),
		},
		{
			ID: "azure/aks-logs", Title: "keep the logs of AKS", Severity: finding.Medium,
			Types: clusters, References: []string{"CKV_AZURE_4", "AZU-0040"},
			Why:   "Who did what in the cluster cannot be told afterwards without them.",
			Fix:   "add oms_agent, or an azurerm_monitor_diagnostic_setting for the cluster",
			Check: anyOf(hasBlock("oms_agent"), isOn("addon_profile.oms_agent.enabled", false), inReferrer("azurerm_monitor_diagnostic_setting", "target_resource_id", exists)),
		},
		{
			ID: "azure/aks-policy", Title: "use Azure Policy in AKS", Severity: finding.Low,
			Types: clusters, References: []string{"CKV_AZURE_116"},
			Why:   "Nothing stops pods that are root or privileged without a policy.",
			Fix:   "set azure_policy_enabled = true",
			Check: isOn("azure_policy_enabled", false),
		},
		{
			ID: "azure/aks-node-public-ip", Title: "give AKS's nodes no public address", Severity: finding.Medium,
			Types: []string{"azurerm_kubernetes_cluster", "azurerm_kubernetes_cluster_node_pool"}, References: []string{"CKV_AZURE_143"},
			Why:   "What listens on a node can be reached from the internet.",
			Fix:   "remove node_public_ip_enabled, or set it to false",
			Check: allOf(anyName(func(path string) demand { return isOff(path, false) }, "default_node_pool.node_public_ip_enabled", "default_node_pool.enable_node_public_ip"), anyName(func(path string) demand { return isOff(path, false) }, "node_public_ip_enabled", "enable_node_public_ip")),
		},
		{
			ID: "azure/aks-upgrades", Title: "let AKS upgrade itself", Severity: finding.Low,
			Types: clusters, References: []string{"CKV_AZURE_171"},
			Why:   "Security fixes come as upgrades.",
			Fix:   "set automatic_upgrade_channel to patch, stable, rapid or node-image",
			Check: anyName(func(path string) demand { return isOneOf(path, "none", "patch", "stable", "rapid", "node-image") }, "automatic_upgrade_channel", "automatic_channel_upgrade"),
		},
		{
			ID: "azure/acr-admin", Title: "leave the registry's administrator off", Severity: finding.High,
			Types: []string{"azurerm_container_registry"}, References: []string{"CKV_AZURE_137"},
			Why:   "One password for everybody, with all rights, that does not expire.",
			Fix:   "remove admin_enabled, or set it to false",
			Check: isOff("admin_enabled", false),
		},
		{
			ID: "azure/acr-anonymous", Title: "let not everybody pull images", Severity: finding.High,
			Types: []string{"azurerm_container_registry"}, References: []string{"CKV_AZURE_138"},
			Why:   "Anybody on the internet can read what is in your images.",
			Fix:   "remove anonymous_pull_enabled, or set it to false",
			Check: isOff("anonymous_pull_enabled", false),
		},
		{
			ID: "azure/acr-public", Title: "keep the registry off the internet", Severity: finding.Low,
			Types: []string{"azurerm_container_registry"}, References: []string{"CKV_AZURE_139"},
			Why:   "What is not on the internet cannot be attacked from there. That takes a Premium registry.",
			Fix:   "set public_network_access_enabled = false, or network_rule_set.default_action = \"Deny\"",
			Check: anyOf(isOneOf("network_rule_set.default_action", "Allow", "Deny"), isOff("public_network_access_enabled", true)),
		},
		{
			ID: "azure/container-group-public", Title: "keep container groups off the internet", Severity: finding.Medium,
			Types: []string{"azurerm_container_group"}, References: []string{"CKV_AZURE_98"},
			Why:   "What listens in the containers can be reached from the internet. That is the default.",
			Fix:   "set ip_address_type to Private, with subnet_ids, or to None",
			Check: isOneOf("ip_address_type", "Public", "Private", "None"),
		},
		{
			ID: "azure/container-group-secrets", Title: "keep secrets out of plain environments", Severity: finding.High,
			Types: []string{"azurerm_container_group"}, References: []string{"https://learn.microsoft.com/azure/container-instances/container-instances-environment-variables"},
			Why:   "Whoever may look at the group can read them.",
			Fix:   "use secure_environment_variables, with values from Key Vault",
			Check: inEach("container", holdsNoSecret("environment_variables")),
		},
	}
}
