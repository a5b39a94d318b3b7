package main

import (
	"slices"
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// azureIdentity are the rules for keys, roles and what is watched.
func azureIdentity() []Rule {
	vaults := []string{"azurerm_key_vault"}
	return []Rule{
		{
			ID: "azure/key-vault-purge", Title: "protect key vaults from purging", Severity: finding.Medium,
			Types: vaults, References: []string{"CKV_AZURE_110", "AZU-0016"},
			Why:   "Whoever may purge destroys keys for good, and with them what they encrypt.",
			Fix:   "set purge_protection_enabled = true",
			Check: isOn("purge_protection_enabled", false),
		},
		{
			ID: "azure/key-vault-network", Title: "open key vaults to named networks alone", Severity: finding.High,
			Types: vaults, References: []string{"CKV_AZURE_109", "AZU-0013"},
			Why:   "Whoever gets hold of a token reads the secrets from anywhere. That is the default.",
			Fix:   "add network_acls with default_action = \"Deny\", or set public_network_access_enabled = false",
			Check: anyOf(isOff("public_network_access_enabled", true), isOneOf("network_acls.default_action", "Allow", "Deny")),
		},
		{
			ID: "azure/key-vault-rbac", Title: "authorise at key vaults by roles", Severity: finding.Low,
			Types: vaults, References: []string{"https://learn.microsoft.com/azure/key-vault/general/rbac-guide"},
			Why:   "Whoever may write the vault can give themselves its access policies.",
			Fix:   "set rbac_authorization_enabled = true",
			Check: anyName(func(path string) demand { return isOn(path, false) }, "rbac_authorization_enabled", "enable_rbac_authorization"),
		},
		{
			ID: "azure/key-expiry", Title: "let keys expire", Severity: finding.Medium,
			Types: []string{"azurerm_key_vault_key"}, References: []string{"CKV_AZURE_40", "AZU-0014"},
			Why:   "A key that leaked works until somebody notices. A rotation policy with expire_after does as well.",
			Fix:   "set expiration_date, or rotation_policy.expire_after",
			Check: anyOf(isSet("rotation_policy.expire_after"), isSet("expiration_date")),
		},
		{
			ID: "azure/secret-expiry", Title: "let secrets expire", Severity: finding.Low,
			Types: []string{"azurerm_key_vault_secret"}, References: []string{"CKV_AZURE_41", "AZU-0017"},
			Why:   "A secret that leaked works until somebody notices.",
			Fix:   "set expiration_date",
			Check: isSet("expiration_date"),
		},
		{
			ID: "azure/secret-content-type", Title: "say what a secret is", Severity: finding.Low,
			Types: []string{"azurerm_key_vault_secret"}, References: []string{"CKV_AZURE_114", "AZU-0015"},
			Why:   "Nobody dares to rotate or remove a secret of which nobody knows what it is.",
			Fix:   "set content_type",
			Check: isSet("content_type"),
		},
		{
			ID: "azure/role-wildcard", Title: "let no role of your own do everything", Severity: finding.High,
			Types: []string{"azurerm_role_definition"}, References: []string{"CKV_AZURE_39", "AZU-0030"},
			Why:   "Whoever has it owns the scope, and nobody sees it under the owners.",
			Fix:   "name the actions in permissions.actions",
			Check: inEach("permissions", holdsNone("actions", func(action string) bool { return action == "*" })),
		},
		{
			ID: "azure/role-owner", Title: "assign nobody Owner", Severity: finding.High,
			Types: []string{"azurerm_role_assignment"}, References: []string{"https://learn.microsoft.com/azure/role-based-access-control/best-practices"},
			Why:   "An owner may do everything and let in anybody; so may, in part, User Access Administrator.",
			Fix:   "assign the role that is needed, on the narrowest scope, or add a condition",
			Check: anyOf(isSet("condition"), isNoneOf("role_definition_name", "", "Owner", "User Access Administrator", "Role Based Access Control Administrator")),
		},
		{
			ID: "azure/federation-subject", Title: "name the repository that may come in by federation", Severity: finding.Critical,
			Types: []string{"azurerm_federated_identity_credential", "azuread_application_federated_identity_credential"}, References: []string{"https://learn.microsoft.com/entra/workload-id/workload-identity-federation-create-trust"},
			Why:   "Of GitHub's tokens, just the subject says whose workflow it is.",
			Fix:   "set subject to one such as repo:ORGANISATION/REPOSITORY:ref:refs/heads/main",
			Check: when(isText("issuer", "", isGitHubIssuer, ""), isText("subject", "", isRepository, "want repo:ORGANISATION/REPOSITORY:…")),
		},
		{
			ID: "azure/automation-encrypted", Title: "encrypt the variables of Automation", Severity: finding.Medium,
			Types: []string{"azurerm_automation_variable_string", "azurerm_automation_variable_bool", "azurerm_automation_variable_int", "azurerm_automation_variable_datetime", "azurerm_automation_variable_object"}, References: []string{"CKV_AZURE_73"},
			Why:   "Whoever may look at the account can read them. It is off by default.",
			Fix:   "set encrypted = true",
			Check: isOn("encrypted", false),
		},
		{
			ID: "azure/defender-tier", Title: "use Defender for Cloud", Severity: finding.Low,
			Types: []string{"azurerm_security_center_subscription_pricing"}, References: []string{"CKV_AZURE_19", "AZU-0045"},
			Why:   "The free tier watches nothing that runs.",
			Fix:   "set tier = \"Standard\"",
			Check: isOneOf("tier", "", "Standard"),
		},
		{
			ID: "azure/defender-contact", Title: "send alerts to somebody", Severity: finding.Medium,
			Types: []string{"azurerm_security_center_contact"}, References: []string{"CKV_AZURE_21", "AZU-0044"},
			Why:   "An alert that nobody gets is none.",
			Fix:   "set alert_notifications = true and alerts_to_admins = true",
			Check: allOf(isOn("alert_notifications", false), isOn("alerts_to_admins", false)),
		},
	}
}

func isGitHubIssuer(issuer string) bool {
	return strings.Contains(issuer, "token.actions.githubusercontent.com")
}

// isRepository says whether the subject of one of GitHub's tokens names an organisation and a repository.
func isRepository(subject string) bool {
	rest, ok := strings.CutPrefix(subject, "repo:")
	parts := strings.SplitN(rest, ":", 2)
	owner, name, both := strings.Cut(parts[0], "/")
	return ok && both && !slices.ContainsFunc([]string{owner, name}, func(part string) bool { return part == "" || strings.ContainsAny(part, "*?") })
}
