package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/bulkhead-mcp/bulkhead/servers/internal/finding"
)

// anyProvider are the rules for what is the same with every provider: secrets in the code, pinning and the state.
func anyProvider() []Rule {
	return []Rule{
		{
			ID: "terraform/provider-credentials", Title: "write no credentials into providers", Severity: finding.Critical, Mode: Provider,
			References: []string{"CKV_AWS_41"},
			Why:        "Whoever can read the code has them, and the history of the code keeps them.",
			Fix:        "let the provider find them: environment variables, a profile, a role, or OIDC; and revoke these",
			Check:      noCredentials,
		},
		{
			ID: "terraform/provider-tls", Title: "let providers check certificates", Severity: finding.High, Mode: Provider,
			References: []string{"https://developer.hashicorp.com/terraform/language/providers/configuration"},
			Why:        "Whoever is on the way can pretend to be the other end, and take the credentials.",
			Fix:        "remove the attribute, and give the provider the certificate of the authority",
			Check:      checksCertificates,
		},
		{
			ID: "terraform/resource-secrets", Title: "write no secrets into resources", Severity: finding.High,
			References: []string{"GIT-0002"},
			Why:        "Whoever can read the code has them, and the history of the code keeps them.",
			Fix:        "pass them as a sensitive variable without a default, let the provider make them (manage_master_user_password, random_password), or use a write-only attribute; and revoke these",
			Check:      noSecretAttributes,
		},
		{
			ID: "terraform/module-secrets", Title: "pass no written secrets to modules", Severity: finding.High, Mode: Call,
			References: []string{"https://developer.hashicorp.com/terraform/language/manage-sensitive-data"},
			Why:        "Whoever can read the code has them, and the history of the code keeps them.",
			Fix:        "pass them as a sensitive variable without a default; and revoke these",
			Check:      noSecretArguments,
		},
		{
			ID: "terraform/variable-default-secret", Title: "give secrets no default", Severity: finding.High, Mode: Variable,
			References: []string{"https://developer.hashicorp.com/terraform/language/values/variables#default-values"},
			Why:        "Whoever can read the code has them, and the history of the code keeps them.",
			Fix:        "remove the default, and revoke it",
			Check:      defaultIsNoSecret,
		},
		{
			ID: "terraform/variable-sensitive", Title: "mark variables with secrets as sensitive", Severity: finding.Low, Mode: Variable,
			References: []string{"https://developer.hashicorp.com/terraform/language/values/variables#suppressing-values-in-cli-output"},
			Why:        "Plans and logs show the value. Judged are variables whose name says that they are secret.",
			Fix:        "set sensitive = true",
			Check:      when(namedSecret, isOn("sensitive", false)),
		},
		{
			ID: "terraform/required-version", Title: "say which Terraform is meant", Severity: finding.Low, Mode: Settings,
			References: []string{"https://developer.hashicorp.com/terraform/language/terraform#terraform-required_version"},
			Why:        "Another version may read the code differently, and writes a state that older ones cannot read.",
			Fix:        "set required_version, such as \"~> 1.9\"",
			Check:      someBlockSets("required_version"),
		},
		{
			ID: "terraform/provider-version", Title: "say which versions of providers are meant", Severity: finding.Medium, Mode: Settings,
			References: []string{"https://developer.hashicorp.com/terraform/language/providers/requirements#version-constraints"},
			Why:        "Without a constraint the newest one is taken wherever there is no lock file, and defaults change with major versions.",
			Fix:        "set version in required_providers, such as \"~> 6.0\", and commit .terraform.lock.hcl",
			Check:      providersHaveVersions,
		},
		{
			ID: "terraform/module-version", Title: "say which version of a module is meant", Severity: finding.Medium, Mode: Call,
			References: []string{"CKV_TF_2"},
			Why:        "Whatever its publisher pushes is run with your credentials at the next init. Modules have no lock file.",
			Fix:        "set version for a module of a registry, and ?ref= for one of a repository",
			Check:      moduleHasVersion,
		},
		{
			ID: "terraform/module-commit", Title: "pin modules to a commit", Severity: finding.Low, Mode: Call,
			References: []string{"CKV_TF_1"},
			Why:        "Tags and branches of a repository can be moved to other code. Registries refer to tags, too: what they serve is judged by version (terraform/module-version).",
			Fix:        "write ?ref= with the whole hash of a commit",
			Check:      when(fromRepository, isText("source", "", hasCommit, "want ?ref= with a whole hash")),
		},
		{
			ID: "terraform/module-transport", Title: "fetch modules over TLS or SSH", Severity: finding.High, Mode: Call,
			References: []string{"https://developer.hashicorp.com/terraform/language/modules/sources"},
			Why:        "Whoever is on the way can put in other code, which is run with your credentials.",
			Fix:        "use https:// or ssh://",
			Check: isText("source", "", func(source string) bool {
				_, source = cutForced(source)
				return !strings.HasPrefix(source, "http://") && !strings.HasPrefix(source, "git://")
			}, "want https:// or ssh://"),
		},
		{
			ID: "terraform/backend-local", Title: "keep the state in one place", Severity: finding.Low, Mode: Settings,
			References: []string{"https://developer.hashicorp.com/terraform/language/backend/local"},
			Why:        "The state has secrets in the clear; a file on whoever's machine runs it is neither shared, locked nor encrypted.",
			Fix:        "use a backend that encrypts and locks, such as s3, azurerm, gcs or cloud",
			Check:      inEach("backend", isNoneOf("type", "", "local")),
		},
		{
			ID: "terraform/backend-encryption", Title: "encrypt the state", Severity: finding.Medium, Mode: Settings,
			References: []string{"https://developer.hashicorp.com/terraform/language/backend/s3#encrypt"},
			Why:        "The state has secrets in the clear. S3 encrypts it with a key of its own by default, unless encrypt demands a key of yours (kms_key_id).",
			Fix:        "set encrypt = true",
			Check:      inEach("backend", when(isOneOf("type", "", "s3"), isOn("encrypt", false))),
		},
		{
			ID: "terraform/backend-locking", Title: "lock the state", Severity: finding.Medium, Mode: Settings,
			References: []string{"https://developer.hashicorp.com/terraform/language/state/locking"},
			Why:        "Two that apply at once ruin the state.",
			Fix:        "set use_lockfile = true (before Terraform 1.10, dynamodb_table); for the backend http, lock_address",
			Check: inEach("backend", allOf(
				when(isOneOf("type", "", "s3"), anyOf(isSet("dynamodb_table"), isOn("use_lockfile", false))),
				when(isOneOf("type", "", "http"), isSet("lock_address")),
				when(isOneOf("type", "", "consul"), isOn("lock", true)))),
		},
		{
			ID: "terraform/backend-transport", Title: "send the state over TLS", Severity: finding.High, Mode: Settings,
			References: []string{"https://developer.hashicorp.com/terraform/language/backend"},
			Why:        "The state has secrets in the clear, which can be read and changed on the way.",
			Fix:        "use https://, check certificates, and sslmode=verify-full for pg",
			Check: inEach("backend", allOf(
				holdsNone("address", isPlainHTTP), holdsNone("lock_address", isPlainHTTP), holdsNone("endpoint", isPlainHTTP), holdsNone("scheme", func(scheme string) bool { return scheme == "http" }),
				holdsNone("conn_str", func(connection string) bool { return strings.Contains(connection, "sslmode=disable") }),
				isOff("skip_cert_verification", false), isOff("insecure", false))),
		},
		{
			ID: "terraform/backend-credentials", Title: "write no credentials into backends", Severity: finding.Critical, Mode: Settings,
			References: []string{"https://developer.hashicorp.com/terraform/language/backend#credentials-and-sensitive-data"},
			Why:        "Whoever can read the code reads the state; Terraform also copies them into .terraform and into plan files.",
			Fix:        "pass them by the environment, or let the backend use a role; and revoke these",
			Check:      inEach("backend", noCredentials),
		},
		{
			ID: "terraform/provisioner", Title: "run no commands from resources", Severity: finding.Low,
			References: []string{"https://developer.hashicorp.com/terraform/language/provisioners"},
			Why:        "What a command does is in neither plan nor state, and it runs with the rights of whoever applies.",
			Fix:        "use what the provider has, user data, or an image that is made beforehand",
			Check:      inEach("provisioner", isOneOf("type", "", "file")),
		},
		{
			ID: "terraform/external-data", Title: "run no programs while planning", Severity: finding.Medium, Mode: Data,
			Types: []string{"external", "http"}, References: []string{"https://registry.terraform.io/providers/hashicorp/external/latest/docs/data-sources/external"},
			Why:   "data external runs a program at every plan, also at that of a pull request which nobody has looked at; data http takes values from whoever answers.",
			Fix:   "use a provider's data source; over https://, with the certificate checked",
			Check: ofType("external", never("a program is run at every plan"), allOf(holdsNone("url", isPlainHTTP), isOff("insecure", false))),
		},
	}
}

// credentialNames are attributes of providers and backends that hold credentials, whatever they look like.
func credentialNames() []string {
	return []string{
		"access_key", "secret_key", "token", "password", "client_secret", "client_key", "api_key", "api_token", "api_secret", "app_key", "auth_token", "oauth_token", "personal_access_token",
		"private_key", "secret_id", "sas_token", "account_key", "secret", "passphrase", "shared_key", "service_account_key", "bearer_token",
	}
}

// noCredentials demands that no attribute of a provider or backend is a credential that is written down.
func noCredentials(r *Resource) Result {
	var results []Result
	for _, name := range r.Names() {
		v := r.Attr(name)
		text, ok := v.Text()
		if slices.Contains(credentialNames(), name) && !strings.HasPrefix(text, "/") || ok && isSecret(name, text) {
			results = append(results, r.notLiteral(v))
		}
	}
	return every(results...)
}

// checksCertificates demands that a provider is not told to take any certificate.
func checksCertificates(r *Resource) Result {
	var results []Result
	for _, name := range r.Names() {
		if slices.Contains([]string{"insecure", "insecure_skip_verify", "skip_tls_verify", "tls_insecure", "tls_insecure_skip_verify", "allow_unverified_ssl", "skip_cert_verification", "insecure_https", "skip_ssl_verify"}, name) {
			results = append(results, isOff(name, false)(r))
		}
	}
	return every(results...)
}

// secretAttributes are attributes of resources that hold a secret, in any provider.
func secretAttributes() []string {
	return []string{
		"password", "master_password", "admin_password", "administrator_password", "administrator_login_password", "root_password", "master_user_password", "sql_administrator_login_password",
		"auth_token", "api_key", "api_token", "secret_key", "client_secret", "private_key", "private_key_pem", "secret_string", "secret_data", "plaintext_value", "shared_secret", "pre_shared_key",
		"tunnel1_preshared_key", "tunnel2_preshared_key", "shared_key", "access_token", "personal_access_token", "connection_string",
	}
}

// secretValues are types of which one attribute is a secret, though its name does not say so.
func secretValues() map[string]string {
	return map[string]string{"azurerm_key_vault_secret": "value", "vault_generic_secret": "data_json", "vault_kv_secret_v2": "data_json", "google_secret_manager_secret_version": "secret_data"}
}

// noSecretAttributes demands that no attribute of a resource is a secret that is written down.
func noSecretAttributes(r *Resource) Result {
	var results []Result
	for _, name := range r.Names() {
		if slices.Contains(secretAttributes(), name) || secretValues()[r.Type] == name {
			results = append(results, r.notLiteral(r.Attr(name)))
		}
	}
	if r.Type == "aws_ssm_parameter" && isOneOf("type", "", "SecureString")(r).Verdict == finding.Pass {
		results = append(results, r.notLiteral(r.Attr("value")))
	}
	results = append(results, inEach("connection", notLiteral("password", "private_key", "bastion_password", "bastion_private_key"))(r))
	return every(results...)
}

// noSecretArguments demands that no argument of a module is a secret that is written down.
func noSecretArguments(r *Resource) Result {
	var results []Result
	for _, name := range r.Names() {
		if v := r.Attr(name); isSecretName(name) && v.value.Type() == cty.String {
			results = append(results, r.notLiteral(v))
		}
	}
	return every(results...)
}

func defaultIsNoSecret(r *Resource) Result {
	v := r.Attr("default")
	text, ok := v.Text()
	if !ok || isPlaceholder(text) || !isSecret(r.Name, text) {
		return pass()
	}
	return v.fails("the default of var.%s is a secret", r.Name)
}

// namedSecret holds of variables of text whose name says that they are secret.
func namedSecret(r *Resource) Result {
	kind, _ := r.Attr("type").Text()
	if isSecretName(r.Name) && kind != "bool" && kind != "number" {
		return pass()
	}
	return r.Value().fails("its name does not say that it is a secret")
}

// someBlockSets demands that one of the terraform blocks of a module sets an attribute.
func someBlockSets(path string) demand {
	return func(r *Resource) Result {
		for _, other := range r.Others(Settings, "").All {
			if other.Module == r.Module && !other.Attr(path).Null() {
				return pass()
			}
		}
		return isSet(path)(r)
	}
}

func providersHaveVersions(r *Resource) Result {
	var results []Result
	blocks := r.Blocks("required_providers")
	for _, providers := range blocks.All {
		for _, name := range providers.Names() {
			v := providers.Attr(name)
			switch text, ok := v.Text(); {
			case v.Unknown():
				results = append(results, v.undecided())
			case ok && text != "": // as Terraform 0.12 had it
			case v.Key("version").empty() && v.Key("configuration_aliases").empty():
				results = append(results, v.fails("%s has no version", v.path))
			}
		}
	}
	return every(results...)
}

// registryForm is the source of a module from a registry: NAMESPACE/NAME/SYSTEM, maybe with a host before and a
// folder behind. https://developer.hashicorp.com/terraform/language/modules/sources#terraform-registry
var registryForm = regexp.MustCompile(`^(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::\d+)?/)?[A-Za-z0-9][A-Za-z0-9_-]*/[A-Za-z0-9][A-Za-z0-9_-]*/[a-z0-9]+(?://.*)?$`)

// cutForced parts a source into the way to fetch it, where it names one (git::, hg::, s3::), and the address.
func cutForced(source string) (way, address string) {
	if way, address, ok := strings.Cut(source, "::"); ok {
		return way, address
	}
	return "", source
}

// isRepositorySource says whether a module's source is a repository.
func isRepositorySource(source string) bool {
	way, address := cutForced(source)
	for _, start := range []string{"github.com/", "bitbucket.org/", "git@", "ssh://", "git://"} {
		if strings.HasPrefix(address, start) {
			return true
		}
	}
	return way == "git" || way == "hg" || strings.Contains(address, ".git?") || strings.HasSuffix(address, ".git")
}

func isRegistrySource(source string) bool {
	return !isRepositorySource(source) && registryForm.MatchString(source)
}

func fromRepository(r *Resource) Result { return isText("source", "", isRepositorySource, "")(r) }

// sourceRef is what a source of a repository asks for: ?ref=v1.2.
func sourceRef(source string) string {
	_, query, _ := strings.Cut(source, "?")
	for pair := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if name == "ref" || name == "rev" {
			return value
		}
	}
	return ""
}

var commitForm = regexp.MustCompile(`^[0-9a-f]{40}(?:[0-9a-f]{24})?$`)

func hasCommit(source string) bool { return commitForm.MatchString(sourceRef(source)) }

func moduleHasVersion(r *Resource) Result {
	source := r.Attr("source")
	text, ok := source.Text()
	switch {
	case source.Unknown():
		return source.undecided()
	case ok && isRepositorySource(text) && sourceRef(text) == "":
		return source.fails("%s is %s, without ?ref=", source.path, source.Show())
	case ok && isRegistrySource(text):
		return isSet("version")(r)
	default:
		return pass()
	}
}

func isPlainHTTP(address string) bool {
	rest, plain := strings.CutPrefix(address, "http://")
	return plain && !strings.HasPrefix(rest, "localhost") && !strings.HasPrefix(rest, "127.0.0.1")
}
