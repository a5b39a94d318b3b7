package scrub

// A format is one kind of secret, as data. It is found in one of three ways: by its looks (prefixes, with what may
// stand before and after), by the name that stands before it (names), or by a structure (prefixes and find).
type format struct {
	provider string // who gives it out, or the standard that describes it
	id       string // what a reader is shown

	prefixes []string // literals that it begins with
	lead     int      // bytes of the alphabet that stand before the prefix
	alphabet string   // bytes that follow it, as ranges: "0-9a-f"
	min, max int      // how many follow it; without a max, any number
	keep     bool     // the prefix is no part of the secret and stays
	// proof says that text is surely one, a checksum for instance: its edges then do not matter. It sees min bytes.
	proof func(body string) bool
	// check refuses what only looks like one. It sees what follows the prefix; where there is a lead, everything.
	check func(body string) bool
	// find takes the place of alphabet, length and edges. It is told where the prefix begins.
	find func(sc *scan, at int) (from, to int, ok bool)

	// names are the endings of names whose values are secrets: lower case, separators left out. "_" before one asks
	// for the beginning of a word inside a longer name, "^" for the beginning of the name.
	names []string
	trust trust // of a value whose format says neither alphabet nor part
	// part narrows a value to its secret, where a value is more than that.
	part func(region string) (from, to int, ok bool)

	set *byteSet // alphabet, compiled
}

// trust is how far a name is trusted to stand before a secret, and with it what its value must look like.
type trust int

const (
	// drawn: the value must look as if it had been drawn at random, since the name is also used for other things.
	drawn trust = iota
	// unnamed: the value must not look like a name, a path or a placeholder.
	unnamed
	// assigned: as literal, but only where the value is quoted or follows an equals sign.
	assigned
	// literal: anything goes but references and placeholders, since people choose passwords.
	literal
)

const (
	digits       = "0-9"
	lowerHex     = "0-9a-f"
	anyHex       = "0-9A-Fa-f"
	base32Upper  = "A-Z2-7"
	alphanumeric = "0-9A-Za-z"
	base64Std    = "0-9A-Za-z+/="
	base64URL    = "-0-9A-Za-z_"
	dotted       = "-.0-9A-Za-z_"
)

// formats returns the table. Of two rows that fit, the earlier counts. Lengths are lenient where a provider states none.
func formats() []format {
	return []format{
		// By their looks: clouds and hosting.
		{
			provider: "Amazon Web Services", id: "aws-access-key", // long-term, temporary, bearer, context
			prefixes: []string{"AKIA", "ASIA", "ABIA", "ACCA"}, alphabet: base32Upper, min: 16, max: 16, check: varied,
		},
		{provider: "Google Cloud", id: "google-api-key", prefixes: []string{"AIza"}, alphabet: base64URL, min: 35, max: 35, check: varied},
		{provider: "Google Cloud", id: "google-access-token", prefixes: []string{"ya29."}, alphabet: dotted, min: 24, check: varied},
		{provider: "Google Cloud", id: "google-client-secret", prefixes: []string{"GOCSPX-"}, alphabet: base64URL, min: 28, max: 28, check: varied},
		{
			provider: "Microsoft Entra", id: "azure-client-secret", // three bytes, a digit, "Q~", the rest
			prefixes: []string{"Q~"}, lead: 4, alphabet: dotted + "~", min: 31, max: 34, check: entraSecret,
		},
		{
			provider: "Microsoft Azure", id: "azure-signature", // of a URL that grants access
			prefixes: []string{"?sig=", "&sig=", "amp;sig=", "u0026sig="}, alphabet: base64Std + "%", min: 43, max: 96, keep: true, check: varied,
		},
		{
			provider: "DigitalOcean", id: "digitalocean-token",
			prefixes: []string{"dop_v1_", "doo_v1_", "dor_v1_"}, alphabet: lowerHex, min: 64, max: 64, check: varied,
		},
		{provider: "Heroku", id: "heroku-api-key", prefixes: []string{"HRKU-"}, alphabet: base64URL, min: 36, max: 64, check: varied},
		{provider: "Databricks", id: "databricks-token", prefixes: []string{"dapi"}, alphabet: lowerHex + "-", min: 32, max: 34, check: varied},

		// By their looks: code, packages, images, infrastructure.
		{provider: "GitHub", id: "github-token", prefixes: []string{"ghs_"}, alphabet: dotted, min: 100, max: 1024, check: varied}, // of an installation
		{
			provider: "GitHub", id: "github-token", // 30 random bytes and the CRC-32 of them
			prefixes: []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"}, alphabet: alphanumeric, min: 36, max: 36,
			proof: checksummed, check: varied,
		},
		{provider: "GitHub", id: "github-token", prefixes: []string{"github_pat_"}, alphabet: alphanumeric + "_", min: 60, max: 255, check: varied},
		{
			provider: "GitLab", id: "gitlab-token", // personal, deploy, feed, SCIM, runner, job, trigger, agent, OAuth, mail, flags
			prefixes: []string{
				"glpat-", "gldt-", "glft-", "glsoat-", "glrt-", "glcbt-", "glptt-", "glagent-", "gloas-", "glimt-", "glffct-", "glwt-", "GR1348941",
			},
			alphabet: dotted, min: 20, max: 320, check: varied,
		},
		{provider: "Docker Hub", id: "docker-token", prefixes: []string{"dckr_pat_", "dckr_oat_"}, alphabet: base64URL, min: 20, max: 64, check: varied},
		{provider: "Docker", id: "docker-swarm-token", prefixes: []string{"SWMTKN-"}, alphabet: "0-9a-z-", min: 40, max: 128, check: varied},
		{provider: "npm", id: "npm-token", prefixes: []string{"npm_"}, alphabet: alphanumeric, min: 36, max: 36, proof: checksummed, check: varied},
		{provider: "PyPI", id: "pypi-token", prefixes: []string{"pypi-AgE"}, alphabet: base64URL, min: 48, max: 1024, check: varied},
		{provider: "HashiCorp Vault", id: "vault-token", prefixes: []string{"hvs.", "hvb.", "hvr."}, alphabet: base64URL, min: 24, max: 1024, check: varied},
		{
			provider: "HCP Terraform", id: "terraform-token", // 14 bytes, ".atlasv1.", the rest
			prefixes: []string{".atlasv1."}, lead: 14, alphabet: base64URL, min: 60, max: 128, check: varied,
		},
		{provider: "Pulumi", id: "pulumi-token", prefixes: []string{"pul-"}, alphabet: lowerHex, min: 40, max: 40, check: varied},
		{provider: "Grafana", id: "grafana-token", prefixes: []string{"glsa_", "glc_"}, alphabet: base64Std + "_", min: 32, max: 512, check: varied},
		{provider: "Tailscale", id: "tailscale-key", prefixes: []string{"tskey-"}, alphabet: alphanumeric + "-", min: 20, max: 128, check: varied},
		{provider: "age", id: "age-secret-key", prefixes: []string{"AGE-SECRET-KEY-1"}, alphabet: "02-9AC-HJ-NP-Z", min: 58, max: 58, check: varied},

		// By their looks: messages, mail, money, models.
		{
			provider: "Slack", id: "slack-token",
			prefixes: []string{"xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxc-", "xoxd-", "xoxe-", "xoxe.xoxp-", "xoxe.xoxb-", "xapp-"},
			alphabet: alphanumeric + "%+/=-", min: 20, max: 512, check: varied,
		},
		{provider: "Slack", id: "slack-webhook", prefixes: []string{"hooks.slack.com/services/", "hooks.slack.com/workflows/"}, alphabet: alphanumeric + "/", min: 40, max: 80, keep: true, check: varied},
		{
			provider: "Stripe", id: "stripe-key", // pk_ is meant to be public
			prefixes: []string{"sk_live_", "sk_test_", "rk_live_", "rk_test_", "whsec_"}, alphabet: alphanumeric, min: 16, max: 255, check: varied,
		},
		{provider: "SendGrid", id: "sendgrid-key", prefixes: []string{"SG."}, alphabet: dotted, min: 66, max: 66, check: sendGrid},
		{provider: "Twilio", id: "twilio-key", prefixes: []string{"SK"}, alphabet: lowerHex, min: 32, max: 32, check: varied},
		{provider: "Anthropic", id: "anthropic-key", prefixes: []string{"sk-ant-"}, alphabet: base64URL, min: 32, max: 255, check: varied},
		{
			provider: "OpenAI", id: "openai-key",
			prefixes: []string{"sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-"}, alphabet: base64URL, min: 32, max: 255, check: varied,
		},
		{provider: "OpenAI", id: "openai-key", prefixes: []string{"sk-"}, alphabet: alphanumeric, min: 48, max: 48, check: openAI},
		{provider: "Hugging Face", id: "huggingface-token", prefixes: []string{"hf_"}, alphabet: "A-Za-z", min: 34, max: 34, check: varied},

		// By structure.
		{provider: "RFC 7519", id: "jwt", prefixes: []string{"ey", "ew"}, find: (*scan).jwt},
		{provider: "RFC 7468", id: "private-key", prefixes: []string{"-----BEGIN "}, find: (*scan).privateKey},
		{provider: "RFC 7468", id: "private-key", prefixes: []string{"LS0tLS1CRUdJTi"}, alphabet: base64Std, min: 64, check: encodedPrivateKey},
		{provider: "RFC 3986", id: "url-password", prefixes: []string{"://"}, find: (*scan).userinfo},
		{
			provider: "RFC 6750", id: "authorization", prefixes: []string{"Bearer ", "bearer "}, keep: true,
			alphabet: dotted + "~+/=", min: 16, max: 4096, check: looksRandom,
		},

		// By name: what one service calls its own, with a format.
		{provider: "Amazon Web Services", id: "aws-secret-key", names: []string{"secretaccesskey", "awssecretkey", "awssecret"}, alphabet: base64Std, min: 40, max: 40, check: varied},
		{provider: "Amazon Web Services", id: "aws-session-token", names: []string{"awssessiontoken", "amzsecuritytoken", "sessiontoken"}, alphabet: base64Std + "%", min: 100, max: 2048, check: varied},
		{provider: "Amazon Web Services", id: "signature", names: []string{"amzsignature", "googsignature"}, alphabet: lowerHex, min: 64, max: 1024, check: varied},
		{provider: "Microsoft Azure", id: "azure-storage-key", names: []string{"accountkey", "storagekey", "storageaccesskey"}, alphabet: base64Std, min: 88, max: 88, check: varied},
		{provider: "Microsoft Azure", id: "azure-shared-key", names: []string{"sharedaccesskey"}, alphabet: base64Std, min: 43, max: 88, check: varied},
		{provider: "Google Cloud", id: "gcp-private-key", names: []string{"privatekey"}, part: pemInString},
		{provider: "Heroku", id: "heroku-api-key", names: []string{"herokuapikey", "herokuapitoken", "herokuauthtoken", "herokukey"}, alphabet: lowerHex + "-", min: 36, max: 36, check: uuid},
		{provider: "Twilio", id: "twilio-auth-token", names: []string{"twilioauthtoken", "twiliotoken"}, alphabet: lowerHex, min: 32, max: 32, check: varied},
		{provider: "Docker", id: "docker-auth", names: []string{"^auth"}, alphabet: base64Std, min: 8, max: 1024, check: encodedUserinfo},
		{provider: "Kubernetes", id: "private-key", names: []string{"clientkeydata"}, alphabet: base64Std, min: 64, check: varied},

		// By name: headers.
		{provider: "RFC 9110", id: "authorization", names: []string{"authorization"}, part: credentials},
		{provider: "RFC 6265", id: "cookie", names: []string{"^cookie"}, part: cookies},
		{provider: "RFC 6265", id: "cookie", names: []string{"^setcookie"}, part: setCookie},

		// By name: what everybody calls a secret.
		{provider: "any", id: "password", trust: literal, names: []string{"password", "passwd", "passphrase", "passwort", "^pwd", "_pwd", "_pw", "_pass"}},
		{provider: "any", id: "password", trust: assigned, names: []string{"^pass"}},
		{
			provider: "any", id: "token", trust: unnamed,
			names: []string{
				"accesstoken", "apitoken", "authtoken", "bearertoken", "bottoken", "deploytoken", "githubtoken", "gitlabtoken", "jointoken", "npmtoken",
				"oauthtoken", "privatetoken", "refreshtoken", "registrationtoken", "roottoken", "runnertoken", "slacktoken", "vaulttoken",
			},
		},
		{
			provider: "any", id: "secret", trust: unnamed,
			names: []string{
				"apisecret", "appsecret", "authsecret", "clientsecret", "consumersecret", "cookiesecret", "hmacsecret", "jwtsecret", "sessionsecret",
				"sharedsecret", "signingsecret", "webhooksecret", "secretstring",
			},
		},
		{
			provider: "any", id: "api-key", trust: unnamed,
			names: []string{
				"apikey", "authkey", "encryptionkey", "hmackey", "licensekey", "masterkey", "presharedkey", "_psk", "privatekey", "secretkeybase",
				"sharedkey", "signingkey", "subscriptionkey", "unsealkey",
			},
		},
		{provider: "any", id: "token", names: []string{"token", "_pat", "^pat", "sessioncookie", "^jwt", "_jwt"}},
		{provider: "any", id: "secret", names: []string{"secret", "credential", "credentials"}},
		{provider: "any", id: "api-key", names: []string{"accesskey", "accountkey", "appkey", "applicationkey", "clientkey", "deploykey", "recoverykey", "secretkey", "servicekey", "storagekey"}},
	}
}

// innocent returns endings of names that end as a secret's name does and hold none: where a list goes on, what makes
// a call repeatable, and the names of objects that hold secrets.
func innocent() []string {
	return []string{
		"continuationtoken", "continuetoken", "idempotencytoken", "nexttoken", "pagetoken", "requesttoken", "resumetoken", "starttoken", "synctoken",
		"existingsecret", "pullsecret", "tlssecret",
	}
}

// qualifiers returns words that may follow a secret's name and leave it one: DB_PASSWORD_OLD.
func qualifiers() []string {
	return []string{
		"base", "current", "default", "dev", "development", "new", "old", "plain", "plaintext", "previous", "primary", "prod", "production",
		"secondary", "stage", "staging", "test", "value",
	}
}

// placeholders returns words that stand where a value is not given, and types, states and flags that stand where a
// message or a schema speaks of one.
func placeholders() []string {
	return []string{
		"any", "array", "auth", "authentication", "auto", "basic", "bearer", "bool", "boolean", "bytes", "changed", "default", "denied", "deprecated",
		"disabled", "empty", "enabled", "expired", "false", "filtered", "found", "generated", "hidden", "ignored", "incorrect", "int", "integer",
		"invalid", "masked", "mismatch", "missing", "n/a", "never", "nil", "none", "null", "number", "object", "omitted", "optional", "redacted",
		"rejected", "removed", "required", "sensitive", "set", "stdin", "str", "string", "text", "token", "true", "undefined", "unknown",
		"unset", "value", "verified", "wrong",
	}
}

// elsewhere returns what a value begins with that says where a secret is kept, or what something is.
func elsewhere() []string {
	return []string{
		"arn:", "env:", "file:", "vault:", "ssm:", "kms:", "secretsmanager:", "ref+", "ENC[", "sha1:", "sha256:", "sha384:", "sha512:", "md5:", "-----BEGIN",
	}
}

// variables returns what an expression begins with that stands for a value, where nothing is quoted.
func variables() []string {
	return []string{
		"args.", "cfg.", "config.", "data.", "each.", "inputs.", "local.", "module.", "options.", "opts.", "os.environ", "params.", "process.env",
		"req.", "request.", "secrets.", "self.", "settings.", "steps.", "this.", "values.", "var.", "vars.",
	}
}
