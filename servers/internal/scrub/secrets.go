package scrub

// A format is one kind of secret, as data. It is found in one of four ways: by its looks (prefixes, with what may
// stand before and after), by the name that stands before it (names), by the service that the name tells (services), or
// by a structure (prefixes and find).
type format struct {
	provider string // who gives it out, or the standard that describes it
	id       string // what a reader is shown

	prefixes []string // literals that it begins with
	fold     bool     // they are the same in upper and lower case
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

	// within finds no secret: it says where all values are some.
	within func(sc *scan, a anchor, at int) (hit, bool)

	// names are the endings of names whose values are secrets: lower case, separators left out. "_" before one asks
	// for the beginning of a word inside a longer name, "^" for the beginning of the name.
	names []string
	trust trust // of a value whose format says neither alphabet nor part
	// services are words that stand in the names of one service's secrets, wherever in the name and in upper or lower
	// case: for those whose looks are told by no prefix.
	services []string
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
	letters      = "A-Za-z"
	padded       = base64URL + "="
	modularCrypt = "./0-9A-Za-z$,=+" // crypt(3)
)

// formats returns the table. Of two rows that fit, the earlier counts. Lengths are lenient where a provider states none.
func formats() []format {
	return append(services(), []format{
		// By their looks: clouds and hosting.
		{
			provider: "Amazon Web Services", id: "aws-access-key", // long-term, temporary, bearer, context
			prefixes: []string{"AKIA", "ASIA", "ABIA", "ACCA"}, alphabet: base32Upper, min: 16, max: 16, check: varied,
		},
		{provider: "Amazon Web Services", id: "aws-access-key", prefixes: []string{"A3T"}, alphabet: "0-9A-Z", min: 17, max: 17, check: varied},
		{provider: "Amazon Bedrock", id: "aws-bedrock-key", prefixes: []string{"ABSK"}, alphabet: base64Std, min: 109, max: 271, check: varied},
		{provider: "Amazon Bedrock", id: "aws-bedrock-key", prefixes: []string{"bedrock-api-key-"}, alphabet: base64Std, min: 28, check: varied},
		{provider: "Alibaba Cloud", id: "alibaba-access-key", prefixes: []string{"LTAI"}, alphabet: alphanumeric, min: 12, max: 24, check: varied},
		{provider: "Google Cloud", id: "google-api-key", prefixes: []string{"AIza"}, alphabet: base64URL, min: 35, max: 35, check: varied},
		{provider: "Google Cloud", id: "google-access-token", prefixes: []string{"ya29."}, alphabet: dotted, min: 24, check: varied},
		{provider: "Google Cloud", id: "google-refresh-token", prefixes: []string{"1//0"}, alphabet: base64URL, min: 40, max: 128, check: varied},
		{provider: "Google Cloud", id: "google-client-secret", prefixes: []string{"GOCSPX-"}, alphabet: base64URL, min: 28, max: 28, check: varied},
		{provider: "Google Cloud", id: "google-hmac-key", prefixes: []string{"GOOG1E"}, alphabet: "0-9A-Z", min: 55, max: 55, check: varied},
		{
			provider: "Microsoft Entra", id: "azure-client-secret", // three bytes, a digit, "Q~", the rest
			prefixes: []string{"Q~"}, lead: 4, alphabet: dotted + "~", min: 31, max: 34, check: entraSecret,
		},
		{
			provider: "Microsoft Azure", id: "azure-signature", // of a URL that grants access
			prefixes: []string{"?sig=", "&sig=", "amp;sig=", "u0026sig="}, alphabet: base64Std + "%", min: 43, max: 96, keep: true, check: varied,
		},
		{provider: "Microsoft Teams", id: "teams-webhook", prefixes: []string{".webhook.office.com/webhookb2/"}, alphabet: alphanumeric + "-@/", min: 80, max: 256, keep: true, check: varied},
		{
			provider: "DigitalOcean", id: "digitalocean-token", fold: true,
			prefixes: []string{"dop_v1_", "doo_v1_", "dor_v1_"}, alphabet: anyHex, min: 64, max: 64, check: varied,
		},
		{provider: "Heroku", id: "heroku-api-key", prefixes: []string{"HRKU-"}, alphabet: base64URL, min: 36, max: 64, check: varied},
		{provider: "Databricks", id: "databricks-token", prefixes: []string{"dapi"}, alphabet: lowerHex + "-", min: 32, max: 34, check: varied},
		{provider: "Cloudflare", id: "cloudflare-origin-key", prefixes: []string{"v1.0-"}, alphabet: lowerHex + "-", min: 171, max: 171, check: groups("-", 24, 146)},
		{provider: "Fly.io", id: "flyio-token", prefixes: []string{"fo1_"}, alphabet: base64URL, min: 43, max: 43, check: varied},
		{provider: "Fly.io", id: "flyio-token", prefixes: []string{"fm1a_", "fm1r_", "fm2_"}, alphabet: base64Std, min: 100, check: varied},
		{provider: "Netlify", id: "netlify-token", prefixes: []string{"nfp_"}, alphabet: alphanumeric, min: 36, max: 40, check: varied},
		{provider: "Scalingo", id: "scalingo-token", prefixes: []string{"tk-us-"}, alphabet: base64URL, min: 48, max: 48, check: varied},
		{provider: "PlanetScale", id: "planetscale-key", fold: true, prefixes: []string{"pscale_tkn_", "pscale_oauth_", "pscale_pw_"}, alphabet: dotted + "=", min: 32, max: 64, check: varied},
		{provider: "ClickHouse Cloud", id: "clickhouse-key", prefixes: []string{"4b1d"}, alphabet: alphanumeric, min: 38, max: 38, check: drawnMix},
		{provider: "Neon", id: "neon-key", prefixes: []string{"napi_"}, alphabet: "0-9a-z", min: 60, max: 80, check: varied},
		{provider: "Supabase", id: "supabase-key", prefixes: []string{"sbp_"}, alphabet: lowerHex, min: 40, max: 40, check: varied},
		{provider: "Yandex Cloud", id: "yandex-key", prefixes: []string{"AQVN"}, alphabet: base64URL, min: 35, max: 38, check: drawnMix},
		{provider: "Yandex Cloud", id: "yandex-token", prefixes: []string{"t1."}, alphabet: dotted + "=", min: 90, max: 1024, check: iamToken},

		// By their looks: code, packages, images, builds, infrastructure.
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
		{provider: "GitLab", id: "gitlab-session", prefixes: []string{"_gitlab_session="}, alphabet: "0-9a-z", min: 32, max: 32, keep: true, check: varied},
		{provider: "Atlassian", id: "atlassian-token", fold: true, prefixes: []string{"ATATT3", "ATCTT3"}, alphabet: padded, min: 150, max: 255, check: varied},
		{provider: "Bitbucket", id: "bitbucket-password", prefixes: []string{"ATBB"}, alphabet: alphanumeric, min: 32, max: 32, check: drawnMix},
		{provider: "Sourcegraph", id: "sourcegraph-token", fold: true, prefixes: []string{"sgp_"}, alphabet: alphanumeric + "_", min: 40, max: 57, check: varied},
		{provider: "Docker Hub", id: "docker-token", prefixes: []string{"dckr_pat_", "dckr_oat_"}, alphabet: base64URL, min: 20, max: 64, check: varied},
		{provider: "Docker", id: "docker-swarm-token", prefixes: []string{"SWMTKN-"}, alphabet: "0-9a-z-", min: 40, max: 128, check: varied},
		{provider: "npm", id: "npm-token", fold: true, prefixes: []string{"npm_"}, alphabet: alphanumeric, min: 36, max: 36, proof: checksummed, check: varied},
		{provider: "PyPI", id: "pypi-token", prefixes: []string{"pypi-AgE"}, alphabet: base64URL, min: 48, max: 1024, check: varied},
		{provider: "RubyGems", id: "rubygems-key", prefixes: []string{"rubygems_"}, alphabet: lowerHex, min: 48, max: 48, check: varied},
		{provider: "Clojars", id: "clojars-token", fold: true, prefixes: []string{"CLOJARS_"}, alphabet: alphanumeric, min: 60, max: 60, check: varied},
		{provider: "JFrog", id: "jfrog-key", prefixes: []string{"AKCp"}, alphabet: alphanumeric, min: 69, max: 69, check: varied},
		{provider: "JFrog", id: "jfrog-token", prefixes: []string{"cmVmd"}, alphabet: alphanumeric, min: 59, max: 59, check: drawnMix},
		{provider: "HashiCorp Vault", id: "vault-token", prefixes: []string{"hvs.", "hvb.", "hvr."}, alphabet: base64URL, min: 24, max: 1024, check: varied},
		{provider: "HashiCorp Vault", id: "vault-token", prefixes: []string{"s."}, alphabet: alphanumeric, min: 24, max: 24, check: drawnMix}, // before version 1.10
		{
			provider: "HCP Terraform", id: "terraform-token", // 14 bytes, ".atlasv1.", the rest
			prefixes: []string{".atlasv1."}, lead: 14, alphabet: padded, min: 60, max: 128, check: varied,
		},
		{provider: "Pulumi", id: "pulumi-token", prefixes: []string{"pul-"}, alphabet: lowerHex, min: 40, max: 40, check: varied},
		{provider: "Infracost", id: "infracost-token", prefixes: []string{"ico-"}, alphabet: alphanumeric, min: 32, max: 32, check: drawnMix},
		{provider: "Grafana", id: "grafana-token", fold: true, prefixes: []string{"glsa_", "glc_"}, alphabet: base64Std + "_", min: 32, max: 512, check: varied},
		{provider: "Grafana", id: "grafana-token", fold: true, prefixes: []string{"eyJrIjoi"}, alphabet: base64Std, min: 64, max: 404, check: varied}, // before version 9
		{provider: "Tailscale", id: "tailscale-key", prefixes: []string{"tskey-"}, alphabet: alphanumeric + "-", min: 20, max: 128, check: varied},
		{provider: "Defined Networking", id: "defined-key", fold: true, prefixes: []string{"dnkey-"}, alphabet: padded, min: 79, max: 79, check: varied},
		{provider: "age", id: "age-secret-key", prefixes: []string{"AGE-SECRET-KEY-1"}, alphabet: "02-9AC-HJ-NP-Z", min: 58, max: 58, check: varied},
		{provider: "OpenShift", id: "openshift-token", prefixes: []string{"sha256~"}, alphabet: base64URL, min: 43, max: 43, check: varied},
		{provider: "Octopus Deploy", id: "octopus-key", prefixes: []string{"API-"}, alphabet: "0-9A-Z", min: 26, max: 26, check: drawnMix},
		{provider: "Harness", id: "harness-key", prefixes: []string{"pat.", "sat."}, alphabet: dotted, min: 68, max: 68, check: groups(".", 22, 24, 20)},
		{provider: "Buildkite", id: "buildkite-token", prefixes: []string{"bkua_"}, alphabet: lowerHex, min: 40, max: 40, check: varied},
		{provider: "CircleCI", id: "circleci-token", prefixes: []string{"CCIPAT_", "CCIPRJ_"}, alphabet: alphanumeric + "_", min: 40, max: 96, check: varied},
		{provider: "Prefect", id: "prefect-key", prefixes: []string{"pnu_"}, alphabet: alphanumeric, min: 36, max: 36, check: varied},
		{provider: "SonarQube", id: "sonar-token", prefixes: []string{"squ_", "sqp_", "sqa_"}, alphabet: "0-9a-z", min: 40, max: 40, check: varied},
		{provider: "Doppler", id: "doppler-token", prefixes: []string{"dp.pt.", "dp.st.", "dp.ct.", "dp.scim.", "dp.audit."}, alphabet: dotted, min: 40, max: 64, check: varied},
		{provider: "1Password", id: "1password-key", prefixes: []string{"A3-"}, alphabet: "0-9A-Z-", min: 35, max: 37, check: onePassword},
		{provider: "1Password", id: "1password-token", prefixes: []string{"ops_eyJ"}, alphabet: base64Std, min: 250, check: varied},
		{provider: "Postman", id: "postman-key", prefixes: []string{"PMAK-"}, alphabet: anyHex + "-", min: 59, max: 59, check: groups("-", 24, 34)},
		{provider: "Dynatrace", id: "dynatrace-token", prefixes: []string{"dt0c01.", "dt0s01.", "dt0s02."}, alphabet: alphanumeric + ".", min: 89, max: 89, check: groups(".", 24, 64)},
		{provider: "New Relic", id: "newrelic-key", fold: true, prefixes: []string{"NRAK-", "NRII-", "NRRA-", "NRIQ-"}, alphabet: alphanumeric + "-", min: 27, max: 42, check: varied},
		{provider: "New Relic", id: "newrelic-key", fold: true, prefixes: []string{"NRJS-"}, alphabet: anyHex, min: 19, max: 19, check: varied},
		{provider: "Sentry", id: "sentry-token", prefixes: []string{"sntrys_eyJ"}, alphabet: base64Std + "_", min: 60, max: 512, check: varied},
		{provider: "Sentry", id: "sentry-token", prefixes: []string{"sntryu_", "sntrya_"}, alphabet: lowerHex, min: 64, max: 64, check: varied},
		{provider: "SettleMint", id: "settlemint-token", prefixes: []string{"sm_aat_", "sm_pat_", "sm_sat_"}, alphabet: alphanumeric, min: 16, max: 16, check: varied},

		// By their looks: messages, mail, money, models, the rest.
		{
			provider: "Slack", id: "slack-token", fold: true,
			prefixes: []string{"xoxb-", "xoxp-", "xoxa-", "xoxr-", "xoxs-", "xoxo-", "xoxc-", "xoxd-", "xoxe-", "xoxe.xoxp-", "xoxe.xoxb-", "xapp-"},
			alphabet: alphanumeric + "%+/=-", min: 8, max: 512, check: withDigit,
		},
		{
			provider: "Slack", id: "slack-webhook", prefixes: []string{"hooks.slack.com/services/", "hooks.slack.com/workflows/", "hooks.slack.com/triggers/"},
			alphabet: alphanumeric + "/+", min: 40, max: 80, keep: true, check: varied,
		},
		{provider: "Discord", id: "discord-webhook", prefixes: []string{"discord.com/api/webhooks/", "discordapp.com/api/webhooks/"}, alphabet: base64URL + "/", min: 60, max: 128, keep: true, check: varied},
		{provider: "Telegram", id: "telegram-token", prefixes: []string{":A"}, find: (*scan).telegram},
		{
			provider: "Stripe", id: "stripe-key", // pk_ is meant to be public
			prefixes: []string{"sk_live_", "sk_test_", "sk_prod_", "rk_live_", "rk_test_", "rk_prod_", "whsec_"}, alphabet: alphanumeric, min: 10, max: 255, check: varied,
		},
		{provider: "Square", id: "square-token", prefixes: []string{"EAAA", "sq0atp-", "sq0csp-"}, alphabet: base64URL, min: 22, max: 60, check: drawnMix},
		{provider: "Shopify", id: "shopify-token", prefixes: []string{"shpat_", "shpca_", "shppa_", "shpss_"}, alphabet: anyHex, min: 32, max: 32, check: varied},
		{provider: "Lob", id: "lob-key", fold: true, prefixes: []string{"live_", "test_"}, alphabet: anyHex, min: 35, max: 35, check: varied},
		{provider: "Lob", id: "lob-key", fold: true, prefixes: []string{"live_pub_", "test_pub_"}, alphabet: anyHex, min: 31, max: 31, check: varied},
		{provider: "Shippo", id: "shippo-token", prefixes: []string{"shippo_live_", "shippo_test_"}, alphabet: anyHex, min: 40, max: 40, check: varied},
		{provider: "EasyPost", id: "easypost-key", prefixes: []string{"EZAK", "EZTK"}, alphabet: alphanumeric, min: 54, max: 54, check: varied},
		{provider: "Duffel", id: "duffel-token", prefixes: []string{"duffel_test_", "duffel_live_"}, alphabet: padded, min: 43, max: 43, check: varied},
		{provider: "Flutterwave", id: "flutterwave-key", prefixes: []string{"FLWSECK_TEST-", "FLWPUBK_TEST-", "FLWSECK-"}, alphabet: alphanumeric + "-", min: 12, max: 34, check: varied},
		{provider: "Facebook", id: "facebook-token", prefixes: []string{"EAAM", "EAAC"}, alphabet: alphanumeric, min: 100, check: varied},
		{provider: "Facebook", id: "facebook-token", prefixes: []string{"|", "%"}, find: (*scan).facebookApp},
		{provider: "SendGrid", id: "sendgrid-key", prefixes: []string{"SG."}, alphabet: dotted + "=", min: 66, max: 66, check: varied},
		{provider: "Brevo", id: "brevo-key", prefixes: []string{"xkeysib-", "xsmtpsib-"}, alphabet: alphanumeric + "-", min: 81, max: 81, check: varied},
		{provider: "Mailchimp", id: "mailchimp-key", prefixes: []string{"-us"}, lead: 32, alphabet: lowerHex, min: 1, max: 2, check: mailchimp},
		{provider: "Twilio", id: "twilio-key", prefixes: []string{"SK"}, alphabet: anyHex, min: 32, max: 32, check: varied},
		{provider: "Airtable", id: "airtable-token", prefixes: []string{"pat"}, alphabet: alphanumeric + ".", min: 79, max: 79, check: groups(".", 14, 64)},
		{provider: "Notion", id: "notion-token", prefixes: []string{"ntn_"}, alphabet: alphanumeric, min: 46, max: 46, check: varied},
		{provider: "Linear", id: "linear-key", prefixes: []string{"lin_api_", "lin_oauth_"}, alphabet: alphanumeric, min: 40, max: 64, check: varied},
		{provider: "Adobe", id: "adobe-client-secret", prefixes: []string{"p8e-"}, alphabet: alphanumeric, min: 32, max: 32, check: varied},
		{provider: "Authress", id: "authress-key", prefixes: []string{"sc_", "ext_", "scauth_", "authress_"}, alphabet: dotted + "+/=", min: 56, max: 196, check: authress},
		{provider: "Frame.io", id: "frameio-token", prefixes: []string{"fio-u-"}, alphabet: padded, min: 64, max: 64, check: varied},
		{provider: "Figma", id: "figma-token", prefixes: []string{"figd_"}, alphabet: base64URL, min: 36, max: 64, check: varied},
		{provider: "Contentful", id: "contentful-token", prefixes: []string{"CFPAT-"}, alphabet: base64URL, min: 43, max: 43, check: varied},
		{provider: "Intra 42", id: "intra42-secret", prefixes: []string{"s-s4t2ud-", "s-s4t2af-"}, alphabet: anyHex, min: 64, max: 64, check: varied},
		{provider: "Mapbox", id: "mapbox-token", prefixes: []string{"sk.eyJ1Ijoi"}, alphabet: dotted, min: 60, max: 255, check: varied},
		{provider: "MaxMind", id: "maxmind-key", prefixes: []string{"_mmk"}, find: (*scan).maxMind},
		{provider: "ReadMe", id: "readme-token", prefixes: []string{"rdme_"}, alphabet: "0-9a-z", min: 70, max: 70, check: varied},
		{provider: "Plaid", id: "plaid-token", fold: true, prefixes: []string{"access-sandbox-", "access-development-", "access-production-"}, alphabet: anyHex + "-", min: 36, max: 36, check: uuid},
		{provider: "PostHog", id: "posthog-key", prefixes: []string{"phx_"}, alphabet: alphanumeric, min: 40, max: 64, check: varied},
		{provider: "Typeform", id: "typeform-token", fold: true, prefixes: []string{"tfp_"}, alphabet: dotted + "=", min: 40, max: 64, check: varied},
		{provider: "Anthropic", id: "anthropic-key", prefixes: []string{"sk-ant-"}, alphabet: base64URL, min: 32, max: 255, check: varied},
		{
			provider: "OpenAI", id: "openai-key",
			prefixes: []string{"sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-"}, alphabet: base64URL, min: 32, max: 255, check: varied,
		},
		{provider: "OpenAI", id: "openai-key", prefixes: []string{"sk-"}, alphabet: alphanumeric, min: 48, max: 48, check: openAI},
		{provider: "Groq", id: "groq-key", prefixes: []string{"gsk_"}, alphabet: alphanumeric, min: 52, max: 52, check: varied},
		{provider: "xAI", id: "xai-key", prefixes: []string{"xai-"}, alphabet: alphanumeric, min: 80, max: 80, check: varied},
		{provider: "Replicate", id: "replicate-token", prefixes: []string{"r8_"}, alphabet: alphanumeric, min: 37, max: 40, check: drawnMix},
		{provider: "Perplexity", id: "perplexity-key", prefixes: []string{"pplx-"}, alphabet: alphanumeric, min: 48, max: 48, check: varied},
		{provider: "LangSmith", id: "langsmith-key", prefixes: []string{"lsv2_pt_", "lsv2_sk_"}, alphabet: lowerHex + "_", min: 43, max: 43, check: varied},
		{provider: "Hugging Face", id: "huggingface-token", prefixes: []string{"hf_", "api_org_"}, alphabet: letters, min: 34, max: 34, check: varied},
		{provider: "crypt(3)", id: "password-hash", prefixes: []string{"$2a$", "$2b$", "$2y$"}, alphabet: modularCrypt, min: 56, max: 56, check: varied},
		{provider: "crypt(3)", id: "password-hash", prefixes: []string{"$1$", "$5$", "$6$", "$y$", "$argon2i$", "$argon2d$", "$argon2id$"}, alphabet: modularCrypt, min: 24, max: 255, check: varied},

		// By structure.
		{provider: "RFC 7519", id: "jwt", prefixes: []string{"ey", "ew"}, find: (*scan).jwt},
		{provider: "RFC 7468", id: "private-key", prefixes: []string{"-----BEGIN "}, find: (*scan).privateKey},
		{provider: "PuTTY", id: "private-key", prefixes: []string{"Private-Lines: "}, find: (*scan).puttyKey},
		{provider: "RFC 7468", id: "private-key", prefixes: []string{"LS0tLS1CRUdJTi"}, alphabet: base64Std, min: 64, check: encodedPrivateKey},
		{provider: "RFC 7519", id: "jwt", prefixes: []string{"ZXlK"}, alphabet: padded + "+/", min: 44, check: encodedJWT},
		{provider: "RFC 3986", id: "url-password", prefixes: []string{"://"}, find: (*scan).userinfo},
		{provider: "Oracle", id: "url-password", prefixes: []string{"jdbc:oracle:thin:"}, find: (*scan).oracle},
		{provider: "curl", id: "url-password", prefixes: []string{" -u", " --user"}, find: (*scan).curlUser},
		{provider: "shell", id: "password", prefixes: []string{" -p", " -P", " -a", " -w"}, find: (*scan).commandPassword},
		{provider: "SQL", id: "password", fold: true, prefixes: []string{"identified by", "password '"}, find: (*scan).sqlPassword},
		{provider: "netrc", id: "password", prefixes: []string{"login "}, find: (*scan).netrc},
		{provider: "RFC 7617", id: "authorization", prefixes: []string{"Basic ", "basic "}, keep: true, alphabet: base64Std, min: 8, max: 1024, check: encodedUserinfo},
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
		{provider: "Twilio", id: "twilio-auth-token", names: []string{"twilioauthtoken", "twiliotoken"}, alphabet: lowerHex, min: 32, max: 32, check: varied},
		{provider: "Docker", id: "docker-auth", names: []string{"^auth"}, alphabet: base64Std, min: 8, max: 1024, check: encodedUserinfo},
		{provider: "Kubernetes", id: "kubernetes-secret", prefixes: []string{"data", "stringData"}, within: (*scan).enterData},
		{provider: "Kubernetes", id: "private-key", names: []string{"clientkeydata"}, alphabet: base64Std, min: 64, check: varied},

		// By name: headers.
		{provider: "RFC 9110", id: "authorization", names: []string{"authorization"}, part: credentials},
		{provider: "RFC 6265", id: "cookie", names: []string{"^cookie"}, part: cookies},
		{provider: "RFC 6265", id: "cookie", names: []string{"^setcookie"}, part: setCookie},

		{provider: "web frameworks", id: "cookie", trust: unnamed, names: []string{"jsessionid", "phpsessid", "aspnetsessionid", "connectsid", "laravelsession", "racksession"}},

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
		{provider: "any", id: "api-key", names: []string{"accesskey", "accountkey", "appkey", "applicationkey", "clientkey", "deploykey", "recoverykey", "secretkey", "servicekey", "storagekey", "^xkey"}},
	}...)
}

// command is a program with a flag that takes a secret.
type command struct {
	word     string
	flag     byte
	attached bool // nothing stands between the flag and its value
}

// commands returns those that are known.
func commands() []command {
	return []command{
		{word: "curl", flag: 'u'}, {word: "docker login", flag: 'p'}, {word: "podman login", flag: 'p'}, {word: "skopeo login", flag: 'p'}, {word: "oras login", flag: 'p'},
		{word: "sshpass", flag: 'p'}, {word: "mysql", flag: 'p', attached: true}, {word: "mongosh", flag: 'p'}, {word: "mongodump", flag: 'p'}, {word: "sqlcmd", flag: 'P'},
		{word: "redis-cli", flag: 'a'}, {word: "ldapsearch", flag: 'w'}, {word: "ldapmodify", flag: 'w'},
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
		"disabled", "empty", "enabled", "expired", "false", "filtered", "found", "from", "generated", "hidden", "ignored", "incorrect", "int", "integer",
		"invalid", "masked", "mismatch", "missing", "must", "n/a", "never", "nil", "none", "null", "number", "object", "omitted", "optional", "redacted",
		"rejected", "removed", "required", "sensitive", "set", "stdin", "str", "string", "text", "that", "token", "true", "undefined", "unknown",
		"unset", "value", "verified", "when", "will", "with", "wrong",
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
