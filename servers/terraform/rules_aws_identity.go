package main

import (
	"strings"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// awsIdentity are the rules for IAM, keys and secrets.
func awsIdentity() []Rule {
	policies := []string{"aws_iam_policy", "aws_iam_role_policy", "aws_iam_user_policy", "aws_iam_group_policy", "aws_iam_role", "aws_ssoadmin_permission_set_inline_policy"}
	identity := func(bad func(statement) Result) demand {
		return ofType("aws_iam_role", policyAt(bad, "inline_policy.policy"),
			ofType("aws_ssoadmin_permission_set_inline_policy", policyAt(bad, "inline_policy"), policyAt(bad, "policy")))
	}
	passwords := []string{"aws_iam_account_password_policy"}
	const whyPassword = "Passwords that are guessed or leaked elsewhere are how accounts are taken."
	return []Rule{
		{
			ID: "aws/iam-admin-policy", Title: "grant nobody everything", Severity: finding.Critical,
			Types: policies, References: []string{"CIS AWS 3.0.0 1.16", "CKV_AWS_62", "AWS-0057"},
			Why:   "Whoever gets hold of the identity holds the account.",
			Fix:   "name the actions and resources that are needed",
			Check: identity(administers),
		},
		{
			ID: "aws/iam-service-wildcard", Title: "grant no service as a whole on every resource", Severity: finding.High,
			Types: policies, References: []string{"CKV_AWS_63", "AWS-0057", "IAM.21 of AWS Security Hub"},
			Why:   "s3:* on every resource is to read, change and delete all of it, and so with the other services.",
			Fix:   "name the actions and resources that are needed",
			Check: identity(allowsWholeService),
		},
		{
			ID: "aws/iam-pass-any-role", Title: "let nobody pass any role", Severity: finding.High,
			Types: policies, References: []string{"AWS-0342"},
			Why:   "Whoever may give a service any role takes the mightiest one, by way of that service.",
			Fix:   "name the roles as resources, or add a condition on iam:PassedToService",
			Check: identity(passesAnyRole),
		},
		{
			ID: "aws/iam-all-but", Title: "grant what is named, and not all but what is named", Severity: finding.High,
			Types: policies, References: []string{"https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_notaction.html"},
			Why:   "Allow with NotAction grants every action that AWS adds later, too.",
			Fix:   "use Action, or Deny with NotAction",
			Check: identity(allowsAllBut),
		},
		{
			ID: "aws/iam-admin-attachment", Title: "attach AdministratorAccess to nobody", Severity: finding.High,
			Types: []string{"aws_iam_role_policy_attachment", "aws_iam_user_policy_attachment", "aws_iam_group_policy_attachment", "aws_iam_policy_attachment", "aws_ssoadmin_managed_policy_attachment"}, References: []string{"CKV_AWS_274"},
			Why:   "Whoever gets hold of the identity holds the account.",
			Fix:   "attach a policy that names the actions and resources that are needed",
			Check: allOf(holdsNone("policy_arn", isAdministratorAccess), holdsNone("managed_policy_arn", isAdministratorAccess)),
		},
		{
			ID: "aws/iam-role-assumable", Title: "let not everybody take a role", Severity: finding.Critical,
			Types: []string{"aws_iam_role"}, References: []string{"CKV_AWS_61"},
			Why:   "Any AWS account can take the role, and do what it may.",
			Fix:   "name the principals, or add a condition such as aws:PrincipalOrgID",
			Check: policyAt(openToAnybody, "assume_role_policy"),
		},
		{
			ID: "aws/iam-github-trust", Title: "name the repositories that may take a role from GitHub", Severity: finding.Critical,
			Types: []string{"aws_iam_role"}, References: []string{"CKV_AWS_358"},
			Why:   "Every workflow on GitHub gets tokens of that issuer; just the subject says whose workflow it is.",
			Fix:   "add a condition on token.actions.githubusercontent.com:sub, such as repo:ORGANISATION/REPOSITORY:ref:refs/heads/main",
			Check: policyAt(trustsAnyRepository, "assume_role_policy"),
		},
		{
			ID: "aws/iam-user-policy", Title: "grant rights to groups and roles, not to users", Severity: finding.Low,
			Types: []string{"aws_iam_user_policy", "aws_iam_user_policy_attachment", "aws_iam_policy_attachment"}, References: []string{"CIS AWS 3.0.0 1.15", "CKV_AWS_40", "AWS-0143"},
			Why:   "Rights that hang on persons are forgotten when the person's work changes.",
			Fix:   "attach the policy to a group or role",
			Check: ofType("aws_iam_policy_attachment", isUnset("users"), never("a user is granted rights directly")),
		},
		{
			ID: "aws/iam-access-key", Title: "keep access keys out of the state", Severity: finding.Medium,
			Types: []string{"aws_iam_access_key"}, References: []string{"https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/iam_access_key"},
			Why:   "The secret stands in the state in the clear, and does not expire.",
			Fix:   "use a role (IRSA, OIDC, instance profiles), or set pgp_key so that the state holds it encrypted",
			Check: isSet("pgp_key"),
		},
		{
			ID: "aws/iam-root-key", Title: "make no access key for root", Severity: finding.Critical,
			Types: []string{"aws_iam_access_key"}, References: []string{"CIS AWS 3.0.0 1.4", "CKV_AWS_348", "AWS-0141"},
			Why:   "Nothing can bound what root may do.",
			Fix:   "remove it, and use roles",
			Check: isNoneOf("user", "", "root"),
		},
		{
			ID: "aws/password-length", Title: "demand passwords of 14 characters", Severity: finding.Medium,
			Types: passwords, References: []string{"CIS AWS 3.0.0 1.8", "CKV_AWS_10", "AWS-0063"},
			Why: whyPassword, Fix: "set minimum_password_length = 14",
			Check: isAtLeast("minimum_password_length", 6, 14),
		},
		{
			ID: "aws/password-reuse", Title: "refuse old passwords", Severity: finding.Medium,
			Types: passwords, References: []string{"CIS AWS 3.0.0 1.9", "CKV_AWS_13", "AWS-0056"},
			Why: whyPassword, Fix: "set password_reuse_prevention = 24",
			Check: isAtLeast("password_reuse_prevention", 0, 24),
		},
		{
			ID: "aws/password-kinds", Title: "demand letters, numbers and symbols in passwords", Severity: finding.Low,
			Types: passwords, References: []string{"CKV_AWS_11", "CKV_AWS_12", "CKV_AWS_14", "CKV_AWS_15", "AWS-0058", "AWS-0059", "AWS-0060", "AWS-0061"},
			Why: whyPassword, Fix: "set require_lowercase_characters, require_uppercase_characters, require_numbers and require_symbols to true",
			Check: allOf(isOn("require_lowercase_characters", false), isOn("require_uppercase_characters", false), isOn("require_numbers", false), isOn("require_symbols", false)),
		},
		{
			ID: "aws/cognito-anonymous", Title: "hand out no credentials to strangers", Severity: finding.High,
			Types: []string{"aws_cognito_identity_pool"}, References: []string{"CKV_AWS_366"},
			Why:   "Anybody on the internet gets credentials of the pool's role for guests.",
			Fix:   "set allow_unauthenticated_identities = false",
			Check: isOff("allow_unauthenticated_identities", false),
		},
		{
			ID: "aws/kms-rotation", Title: "rotate KMS keys", Severity: finding.Medium,
			Types: []string{"aws_kms_key"}, References: []string{"CIS AWS 3.0.0 3.6", "CKV_AWS_7", "AWS-0065"},
			Why:   "The longer a key is used, the more there is to read with it. Just symmetric keys that KMS made can be rotated.",
			Fix:   "set enable_key_rotation = true",
			Check: when(allOf(isOneOf("key_usage", "ENCRYPT_DECRYPT", "ENCRYPT_DECRYPT"), isOneOf("customer_master_key_spec", "SYMMETRIC_DEFAULT", "SYMMETRIC_DEFAULT"), isUnset("custom_key_store_id")), isOn("enable_key_rotation", false)),
		},
		{
			ID: "aws/kms-policy-public", Title: "let no key policy admit everybody", Severity: finding.Critical,
			Types: []string{"aws_kms_key", "aws_kms_key_policy", "aws_kms_external_key", "aws_kms_replica_key"}, References: []string{"CKV_AWS_33"},
			Why:   "Any AWS account can use the key, and read what it protects.",
			Fix:   "name the principals, or add a condition such as kms:CallerAccount",
			Check: policyAt(openToAnybody, "policy"),
		},
		{
			ID: "aws/kms-enabled", Title: "leave KMS keys enabled", Severity: finding.Low,
			Types: []string{"aws_kms_key"}, References: []string{"CKV_AWS_227"},
			Why:   "What the key protects cannot be read while it is disabled.",
			Fix:   "remove is_enabled, or set it to true",
			Check: isOn("is_enabled", true),
		},
		{
			ID: "aws/kms-lockout-check", Title: "leave KMS's check against lock-out on", Severity: finding.Medium,
			Types: []string{"aws_kms_key", "aws_kms_key_policy", "aws_kms_replica_key", "aws_kms_external_key"}, References: []string{"https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html"},
			Why:   "A policy that nobody may change any more makes the key, and what it protects, unmanageable.",
			Fix:   "set bypass_policy_lockout_safety_check = false",
			Check: isOff("bypass_policy_lockout_safety_check", false),
		},
		{
			ID: "aws/secret-key", Title: "encrypt secrets with your own key", Severity: finding.Low,
			Types: []string{"aws_secretsmanager_secret"}, References: []string{"CKV_AWS_149", "AWS-0098"},
			Why:   "The policy of AWS's key cannot be changed, and a secret under it cannot be shared with another account.",
			Fix:   "set kms_key_id",
			Check: isSet("kms_key_id"),
		},
		{
			ID: "aws/secret-rotation", Title: "rotate secrets", Severity: finding.Low,
			Types: []string{"aws_secretsmanager_secret"}, References: []string{"CKV2_AWS_57", "SecretsManager.1 of AWS Security Hub"},
			Why:   "A secret that leaked works until it is changed.",
			Fix:   "add an aws_secretsmanager_secret_rotation",
			Check: inReferrer("aws_secretsmanager_secret_rotation", "secret_id", exists),
		},
		{
			ID: "aws/secret-policy-public", Title: "let no secret's policy admit everybody", Severity: finding.Critical,
			Types: []string{"aws_secretsmanager_secret", "aws_secretsmanager_secret_policy"}, References: []string{"https://docs.aws.amazon.com/secretsmanager/latest/userguide/auth-and-access_resource-policies.html"},
			Why:   "Any AWS account can read the secret.",
			Fix:   "name the principals",
			Check: policyAt(openToAnybody, "policy"),
		},
		{
			ID: "aws/parameter-secure", Title: "keep secrets in parameters that are encrypted", Severity: finding.High,
			Types: []string{"aws_ssm_parameter"}, References: []string{"CKV2_AWS_34"},
			Why:   "A parameter of type String is stored and shown in the clear. Judged are those whose name says that they are secret.",
			Fix:   "set type = \"SecureString\", with key_id",
			Check: when(isText("name", "", isSecretName, ""), isOneOf("type", "", "SecureString")),
		},
		{
			ID: "aws/ssm-document-public", Title: "do not publish documents of Systems Manager", Severity: finding.High,
			Types: []string{"aws_ssm_document"}, References: []string{"CKV_AWS_303", "SSM.4 of AWS Security Hub"},
			Why: "Everybody on AWS can read how your machines are managed.",
			Fix: "name accounts in permissions.account_ids",
			Check: holdsNone("permissions.account_ids", func(accounts string) bool {
				return isAmong("all", strings.Split(strings.ReplaceAll(accounts, " ", ""), ","))
			}),
		},
		{
			ID: "aws/acm-transparency", Title: "log certificates in transparency logs", Severity: finding.Low,
			Types: []string{"aws_acm_certificate"}, References: []string{"CKV_AWS_234"},
			Why:   "Browsers refuse certificates that no log has, and a log is where a forged one is seen.",
			Fix:   "remove certificate_transparency_logging_preference, or set it to ENABLED",
			Check: isNoneOf("options.certificate_transparency_logging_preference", "ENABLED", "DISABLED"),
		},
	}
}

// isAdministratorAccess says whether an ARN is that of AWS's own policy that grants everything.
func isAdministratorAccess(arn string) bool {
	return strings.HasSuffix(arn, ":policy/AdministratorAccess")
}

// isSecretName says whether the last part of a parameter's name says that it is a secret.
func isSecretName(name string) bool {
	name = strings.ToLower(name[strings.LastIndexByte(name, '/')+1:])
	for _, word := range []string{"password", "passwd", "secret", "token", "api_key", "api-key", "apikey", "private_key", "private-key", "credentials"} {
		if strings.HasSuffix(name, word) {
			return true
		}
	}
	return false
}
