package scrub

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// Secrets are made here, from the table and at random, so that none stands in the repository.

// specimen is what a row of the table owns: how one of its secrets is made, if alphabet and length do not say it, and
// texts that look like it and hold none.
type specimen struct {
	body    func(r *rand.Rand) string // what follows the prefix or the name
	whole   func(r *rand.Rand, start string) (text, secret string)
	lead    func(r *rand.Rand) string
	similar []string
}

// row names a row of the table: its id and the first of its prefixes, names or services.
func row(f format) string { return f.id + " " + slices.Concat(f.prefixes, f.names, f.services)[0] }

func random(r *rand.Rand, ranges string, n int) string {
	set := newByteSet(ranges)
	var letters []byte
	for c, in := range set {
		if in {
			letters = append(letters, byte(c))
		}
	}
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[r.IntN(len(letters))]
	}
	return string(b)
}

func of(ranges string, n int) func(*rand.Rand) string {
	return func(r *rand.Rand) string { return random(r, ranges, n) }
}

func withChecksum(r *rand.Rand) string {
	s := random(r, alphanumeric, 30)
	return s + checksum(s)
}

func pem(label, sep string) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		var lines []string
		for range 6 {
			lines = append(lines, random(r, alphanumeric+"+/", 64))
		}
		lines = append(lines, random(r, alphanumeric, 21)+"=")
		return label + dashes + sep + strings.Join(lines, sep) + sep + dashes + "END " + label + dashes
	}
}

func makeJWT(r *rand.Rand) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part([]byte(`{"sub":"`+random(r, digits, 9)+`"}`)) + "." + random(r, alphanumeric, 43)
}

// mixed makes what has letters and digits.
func mixed(n int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		for {
			if s := random(r, alphanumeric, n); drawnMix(s) {
				return s
			}
		}
	}
}

// drawnValue returns what looks drawn: a random one does all but always.
func drawnValue(r *rand.Rand) string {
	for {
		if s := random(r, alphanumeric, 24); looksRandom(s) {
			return s
		}
	}
}

var specimens = map[string]specimen{
	"aws-access-key AKIA": {similar: []string{
		"AKIA" + strings.Repeat("X", 16), "AKIA" + "ABCDEFGHIJKLMNO", "XAKIA" + "2345672345ABCDEFG", "AKIA" + "2345672345ABCDEFG", "AIDA" + "2345672345ABCDEF",
	}},
	"google-api-key AIza":             {similar: []string{"AIza" + strings.Repeat("-", 35), "AIzaSyExample", "xAIza" + strings.Repeat("aB3", 12)}},
	"google-access-token ya29.":       {body: of(alphanumeric, 120), similar: []string{"ya29.short", "ya29." + strings.Repeat("x", 40)}},
	"google-client-secret GOCSPX-":    {similar: []string{"GOCSPX-", "GOCSPX-" + strings.Repeat("x", 28)}},
	"azure-client-secret Q~":          {lead: func(r *rand.Rand) string { return random(r, alphanumeric, 3) + random(r, digits, 1) }, body: of(alphanumeric, 34), similar: []string{"abcQ~def", "abcdQ~" + strings.Repeat("aB3", 11)}},
	"digitalocean-token dop_v1_":      {similar: []string{"dop_v1_" + strings.Repeat("0", 64), "dop_v1_0123456789abcdef"}},
	"heroku-api-key HRKU-":            {body: of(alphanumeric, 58), similar: []string{"HRKU-AA", "HRKU-" + strings.Repeat("-", 40)}},
	"databricks-token dapi":           {body: of(lowerHex, 32), similar: []string{"dapi-client-v2", "dapi0123456789abcdef"}},
	"github-token ghp_":               {body: withChecksum, similar: []string{"ghp_" + strings.Repeat("x", 36), "ghp_token", "ghp_" + "0123456789abcdefABCDEF", "xghp_" + strings.Repeat("aB3d", 9)}},
	"github-token ghs_":               {body: of(base64URL, 300), similar: []string{"ghs_" + strings.Repeat("x", 120), "ghs_" + strings.Repeat("aB3d", 20)}},
	"github-token github_pat_":        {body: of(alphanumeric, 82), similar: []string{"github_pat_11AAAA", "github_pat_" + strings.Repeat("x", 82)}},
	"gitlab-token glpat-":             {body: of(alphanumeric, 20), similar: []string{"glpat-" + strings.Repeat("x", 20), "glrt-runner"}},
	"docker-token dckr_pat_":          {body: of(alphanumeric, 27), similar: []string{"dckr_pat_" + strings.Repeat("x", 27), "dckr_pat_example"}},
	"npm-token npm_":                  {body: withChecksum, similar: []string{"npm_config_registry", "npm_" + strings.Repeat("x", 36), "npm_lifecycle_event"}},
	"pypi-token pypi-AgE":             {body: of(base64URL, 120), similar: []string{"pypi-AgEIcHlwaS5vcmc", "pypi-server"}},
	"vault-token hvs.":                {body: of(alphanumeric, 90), similar: []string{"hvs.example", "hvs." + strings.Repeat("x", 24)}},
	"terraform-token .atlasv1.":       {lead: of(alphanumeric, 14), body: of(alphanumeric, 67), similar: []string{"x.atlasv1.y", strings.Repeat("x", 14) + ".atlasv1." + strings.Repeat("x", 67)}},
	"pulumi-token pul-":               {similar: []string{"pul-" + strings.Repeat("0", 40), "pul-request"}},
	"grafana-token glsa_":             {body: of(alphanumeric, 41), similar: []string{"glsa_" + strings.Repeat("x", 41), "glc_example"}},
	"tailscale-key tskey-":            {body: of(alphanumeric, 40), similar: []string{"tskey-auth", "tskey-" + strings.Repeat("x", 40)}},
	"age-secret-key AGE-SECRET-KEY-1": {similar: []string{"AGE-SECRET-KEY-1", "AGE-SECRET-KEY-1" + strings.Repeat("Q", 58)}},
	"slack-webhook hooks.slack.com/services/": {
		body: func(r *rand.Rand) string {
			return "T" + random(r, digits, 9) + "/B" + random(r, digits, 9) + "/" + random(r, alphanumeric, 24)
		},
		similar: []string{"hooks.slack.com/services/", "https://hooks.slack.com/services/T000/B000/XXXX"},
	},
	"stripe-key sk_live_": {body: of(alphanumeric, 24), similar: []string{"sk_test_" + strings.Repeat("x", 24), "pk_live_" + "0123456789abcdefABCDEFGH", "sk_live_mode"}},
	"sendgrid-key SG.": {
		body:    func(r *rand.Rand) string { return random(r, alphanumeric, 22) + "." + random(r, alphanumeric, 43) },
		similar: []string{"SG.example", "SG." + strings.Repeat("aB3", 21)},
	},
	"twilio-key SK":         {similar: []string{"SK" + strings.Repeat("0", 32), "SK0123456789abcdef", "AC" + "0123456789abcdef0123456789abcdef"}},
	"anthropic-key sk-ant-": {body: func(r *rand.Rand) string { return "api03-" + random(r, alphanumeric, 93) + "AA" }, similar: []string{"sk-ant-api03-", "sk-ant-" + strings.Repeat("x", 99)}},
	"openai-key sk-proj-":   {body: of(alphanumeric, 120), similar: []string{"sk-proj-", "sk-proj-" + strings.Repeat("x", 48)}},
	"openai-key sk-": {
		body: func(r *rand.Rand) string {
			return random(r, alphanumeric, 20) + "T3Blbk" + "FJ" + random(r, alphanumeric, 20)
		},
		similar: []string{"sk-" + strings.Repeat("aB3d", 12), "sk-learn"},
	},
	"huggingface-token hf_": {similar: []string{"hf_" + strings.Repeat("x", 34), "hf_hub_download"}},
	"jwt ey": {
		body: func(r *rand.Rand) string { return strings.TrimPrefix(makeJWT(r), "ey") },
		similar: []string{
			"eyJvZmZzZXQiOjEwMH0", "eyJvZmZzZXQiOjEwMH0.eyJvZmZzZXQiOjEwMH0.eyJvZmZzZXQiOjEwMH0", "eyes.on.you", "eyJhbGciOiJIUzI1NiJ9", "eyJhbGciOiJIUzI1NiJ9.e30",
			"keyJhbGciOiJIUzI1NiJ9.e30.x",
		},
	},
	"private-key -----BEGIN ": {
		body: pem("RSA "+privateKeyLabel, "\n"),
		similar: []string{
			dashes + "BEGIN PRIVATE KEY" + dashes + " is what it starts with", dashes + "BEGIN PRIVATE KEY" + dashes + "\n...\n" + dashes + "END PRIVATE KEY" + dashes,
			dashes + "BEGIN CERTIFICATE" + dashes + "\n" + strings.Repeat("MIIBszCCAVmgAwIB", 4) + "\n" + dashes + "END CERTIFICATE" + dashes},
	},
	"private-key LS0tLS1CRUdJTi": {
		body: func(r *rand.Rand) string {
			return strings.TrimPrefix(base64.StdEncoding.EncodeToString([]byte(dashes+"BEGIN "+pem("EC "+privateKeyLabel, "\n")(r)+"\n")), "LS0tLS1CRUdJTi")
		},
		similar: []string{base64.StdEncoding.EncodeToString([]byte(dashes + "BEGIN CERTIFICATE" + dashes + "\n" + strings.Repeat("MIIBszCCAVmgAwIB", 4)))},
	},
	"url-password ://": {
		whole: func(r *rand.Rand, start string) (string, string) {
			secret := random(r, alphanumeric, 12)
			return "https" + start + "user:" + secret + "@host", secret
		},
		similar: []string{
			"https://example.com:8443/a@b", "ssh://git@github.com/x", "https://user:${PASS}@host", "https://user:***@host/x", "https://user:xxxxx@host/x", "http://[::1]:80/@x",
			"docker://localhost:5000/a/b@sha256:", "https://%s:%s@host", "postgres://user@host:5432/db", "file:///C:/a@b", "https://example.com/a:b@c", "https://a.example:443,https://b.example:443/x@1",
			"https://user:[redacted:url-password]@host", "https://a.example:http,https://b.example/x@1",
		},
	},
	"authorization Bearer ": {body: func(r *rand.Rand) string { return drawnValue(r) }, similar: []string{
		`WWW-Authenticate: Bearer realm="https://auth.docker.io/token",service="registry.docker.io"`, "Bearer authentication is required", "a Bearer ${TOKEN}",
	}},
	"aws-secret-key secretaccesskey":    {body: of(alphanumeric, 40), similar: []string{"secret_access_key = var.secret", "secretAccessKey: short", "AWS_SECRET_ACCESS_KEY=$AWS_SECRET_ACCESS_KEY"}},
	"aws-session-token awssessiontoken": {body: of(alphanumeric, 300), similar: []string{"aws_session_token = null", "AWS_SESSION_TOKEN=${TOKEN}"}},
	"signature amzsignature":            {body: of(lowerHex, 64), similar: []string{"X-Amz-Signature=abc", "X-Amz-SignedHeaders=host"}},
	"azure-storage-key accountkey":      {body: func(r *rand.Rand) string { return random(r, alphanumeric+"+/", 86) + "==" }, similar: []string{"AccountKey=...", "integrity sha512-" + strings.Repeat("aB3d", 21) + "aB==", "AccountName=shopdata"}},
	"azure-shared-key sharedaccesskey":  {body: func(r *rand.Rand) string { return random(r, alphanumeric, 43) + "=" }, similar: []string{"SharedAccessKeyName=RootManageSharedAccessKey", "SharedAccessKey=..."}},
	"azure-signature ?sig=":             {body: func(r *rand.Rand) string { return random(r, alphanumeric, 43) + "%3D" }, similar: []string{"?sig=SIGTERM", `"sig": "MEUCIFc/ByLhCkR2YtAMbmJp202ZmZ4XVGXFKi7r+q7lsNDPAiEA"`, "?design=0123456789012345678901234567890123456789abc"}},
	"docker-swarm-token SWMTKN-":        {body: func(r *rand.Rand) string { return "1-" + random(r, "0-9a-z", 50) + "-" + random(r, "0-9a-z", 25) }, similar: []string{"SWMTKN-1-x", "SWMTKN-" + strings.Repeat("0", 60)}},
	"gcp-private-key privatekey":        {body: func(r *rand.Rand) string { return `"` + dashes + "BEGIN " + pem(privateKeyLabel, `\n`)(r) + `\n"` }, similar: []string{`"private_key_id": "0123456789abcdef0123456789abcdef01234567"`}},
	"twilio-auth-token twilioauthtoken": {body: of(lowerHex, 32), similar: []string{"TWILIO_AUTH_TOKEN=", "TWILIO_ACCOUNT_SID=AC" + "0123456789abcdef0123456789abcdef"}},
	"docker-auth ^auth": {
		body: func(r *rand.Rand) string {
			return base64.StdEncoding.EncodeToString([]byte("user:" + random(r, alphanumeric, 12)))
		},
		similar: []string{`"auth": "basic"`, `auth=kubernetes`, `"auth": "` + base64.StdEncoding.EncodeToString([]byte("nothing like it")) + `"`},
	},
	"private-key clientkeydata": {body: of(alphanumeric, 400), similar: []string{"client-key-data: DATA+OMITTED", "client-certificate-data: " + strings.Repeat("aB3d", 50)}},
	"authorization authorization": {body: func(r *rand.Rand) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+random(r, alphanumeric, 12)))
	}, similar: []string{
		"Authorization: Bearer $TOKEN", "authorization: enabled", "Authorization: required for this endpoint", "authorization-mode=Node,RBAC", "Authorization: Bearer <token>",
		"Authorization: Bearer authentication is used", "Authorization: Token ***",
	}},
	"cookie ^cookie": {body: func(r *rand.Rand) string {
		return "a=" + random(r, alphanumeric, 20) + "; b=" + random(r, alphanumeric, 20)
	}, similar: []string{"cookie: true", "Cookie: none was sent", "Cookie: a=${A}"}},
	"cookie ^setcookie": {body: func(r *rand.Rand) string { return "session=" + random(r, alphanumeric, 20) }, similar: []string{"Set-Cookie: sid=; Max-Age=0", "Set-Cookie: sid=deleted; Max-Age=0", "Set-Cookie is a header"}},
	"password password": {body: of(alphanumeric, 10), similar: []string{
		"password: ${DB_PASSWORD}", "password: $DB_PASSWORD", "password: {{ .Values.password }}", "password: null", `"password": ""`, "password: ********", "password = var.password",
		"password = random_password.db.result", `password = os.getenv("PASSWORD")`, "password=password", "password: string", "password: /run/secrets/db_password", "password: !vault |",
		"password: *default_password", "password: must be at least 8 characters", "password: (sensitive value)", "password_file: /x/y", "PasswordAuthentication no", "password: <password>",
		"password: vault:secret/data/db#password", "reset-password:1.2.3", "registry.example/password:7f9c8d6b5aa1", "PWD=/home/user", "OLDPWD=/var/lib/x", "--password-stdin", "password:8080",
		"password: op://vault/item/field", "--password string   the password to use", "password=%s", "password: [FILTERED]", "Password: cfg.Database.Password,", "password: $(cat /run/p)",
		"password: arn:aws:secretsmanager:eu-west-1:123456789012:secret:db", "password: sha256:" + strings.Repeat("0123456789abcdef", 4), "password: xxxxxxxx", "password: invalid",
		"use `AUTH <user> <password>`. You can", "{passphrase: <string>]}`.", "reset-password:main-7f9c8d6b5aa1", "shop/Password:hunter2x", "password= user=shop", "<password> is what", "'Event::Password' => '1.302183'", "[[ $PWD == *\"/x/\"* ]]", "password is required", "password: [alpha, beta]",
	}},
	"password ^pass":    {body: of(alphanumeric, 10), similar: []string{"--- PASS: TestScrubber (0.00s)", "pass=12 fail=0", "bypass=everything", "pass: first one", "PASS: 12"}},
	"token accesstoken": {body: of(alphanumeric, 16), similar: []string{"access_token: required", "accessToken=${TOKEN}", "api_token = your-token-here", "auth_token: the token that the API gave you", "access_token: token-name"}},
	"secret apisecret":  {body: of(alphanumeric, 16), similar: []string{"client_secret: my-oidc-secret", "client_secret = module.app.secret", `clientSecret: ""`, "clientSecretRef: x1y2z3" + "a4b5c6"}},
	"api-key apikey":    {body: of(alphanumeric, 16), similar: []string{"api_key: YOUR_API_KEY", "apiKey: <key>", "error: invalid API key: permission denied", "apiKey=process.env.API_KEY", "api-key-id: abc"}},
	"token token": {body: drawnValue, similar: []string{
		"token: null", "next_token: aB3dE6gH" + "9kLmNpQr", "pageToken=aB3dE6gH" + "9kLmNpQr", "unexpected token: identifier", "token: default-token-x7k2p", "token_type: bearer", "max_tokens: 4096",
		"token: frontend-7d4b9c8f6d-x7k2p", "automountServiceAccountToken: false", "token:latest", "token:7f9c8d6b5aa1", "Zm9JWT==,sha512-aB3dE6gH" + "9kLmNpQr", "token: unexpectedEndOfFileExceptionWhileReading", "tokens: 12", "Token::Identifier", "continue_token=aB3dE6gH" + "9kLmNpQr",
	}},
	"secret secret": {body: drawnValue, similar: []string{
		"secretName: shop-tls", "secretKeyRef: {name: db, key: password}", "secret: {secretName: s}", "secret: shop-database-credentials", `secret "shop-db" not found`,
		`kube_secret_info{secret="default-token-abcde"} 1`, "existingSecret: aB3dE6gH" + "9kLmNpQr", "secret: sh.helm.release.v1.shop.v12", "imagePullSecret: aB3dE6gH9kLm",
		"secret: projects/shop/secrets/db/versions/3", "checksum/secret: 5f70bf18a086007016e9" + "48b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
	}},
	"api-key accesskey":           {body: drawnValue, similar: []string{"access_key: minioadmin", "secretKey: db-password", "accessKey: shop", "primary_key: aB3dE6gH" + "9kLmNpQr", "public_key: aB3dE6gH" + "9kLmNpQr", "Build time autogenerated kernel key: 4cf5ec5c7d6a1a0b9b4b" + "7a7a4b2a1f0e9d8c7b6a", "cache_key: aB3dE6gH" + "9kLmNpQr"}},
	"alibaba-access-key LTAI":     {body: of(alphanumeric, 20)},
	"aws-bedrock-key ABSK":        {body: of(alphanumeric, 120)},
	"cloudflare-origin-key v1.0-": {body: func(r *rand.Rand) string { return random(r, lowerHex, 24) + "-" + random(r, lowerHex, 146) }},
	"yandex-token t1.":            {body: func(r *rand.Rand) string { return random(r, alphanumeric, 100) + "." + random(r, alphanumeric, 86) }},
	"yandex-key AQVN":             {body: of(alphanumeric, 36)},
	"vault-token s.":              {body: mixed(24)},
	"harness-key pat.": {body: func(r *rand.Rand) string {
		return random(r, alphanumeric, 22) + "." + random(r, alphanumeric, 24) + "." + random(r, alphanumeric, 20)
	}},
	"1password-key A3-": {body: func(r *rand.Rand) string {
		const set = "0-9A-Z"
		return random(r, set, 6) + "-" + random(r, set, 6) + "-" + random(r, set, 5) + "-" + random(r, set, 5) + "-" + random(r, set, 5) + "-" + random(r, set, 5)
	}},
	"postman-key PMAK-":       {body: func(r *rand.Rand) string { return random(r, lowerHex, 24) + "-" + random(r, lowerHex, 34) }},
	"dynatrace-token dt0c01.": {body: func(r *rand.Rand) string { return random(r, alphanumeric, 24) + "." + random(r, alphanumeric, 64) }},
	"airtable-token pat":      {body: func(r *rand.Rand) string { return random(r, alphanumeric, 14) + "." + random(r, lowerHex, 64) }, similar: []string{"path.to/it", "pattern"}},
	"authress-key sc_": {body: func(r *rand.Rand) string {
		return random(r, "0-9a-z", 20) + "." + random(r, "0-9a-z", 5) + ".acc_" + random(r, "0-9a-z", 20) + "." + random(r, alphanumeric, 60)
	}},
	"mailchimp-key -us": {lead: of(lowerHex, 32), body: of(digits, 2), similar: []string{"config-us1", "eu-us2"}},
	"slack-token xoxb-": {body: func(r *rand.Rand) string { return random(r, digits, 12) + "-" + random(r, alphanumeric, 24) }, similar: []string{"xoxb-token-goes-here"}},
	"telegram-token :A": {whole: func(r *rand.Rand, start string) (string, string) {
		secret := "1" + random(r, digits, 9) + start + random(r, alphanumeric, 34)
		return "bot " + secret, secret
	}, similar: []string{"1:A", "id 12345678:Alpha", "12345678:A" + strings.Repeat("x", 34)}},
	"facebook-token |": {whole: func(r *rand.Rand, start string) (string, string) {
		secret := random(r, "1-9", 15) + start + random(r, alphanumeric, 27)
		return "app " + secret, secret
	}, similar: []string{"1234567|8", "123456789012345|none", "123456789012345|" + strings.Repeat("x", 27)}},
	"facebook-token EAAM": {body: of(alphanumeric, 120)},
	"maxmind-key _mmk": {whole: func(r *rand.Rand, start string) (string, string) {
		secret := random(r, alphanumeric, 6) + "_" + random(r, alphanumeric, 29) + start
		return "key " + secret + " ", secret
	}, similar: []string{"x_mmk", strings.Repeat("x", 6) + "_" + strings.Repeat("x", 29) + "_mmk", "x" + strings.Repeat("aB3", 11) + "zz_mmk"}},
	"square-token EAAA":             {body: of(alphanumeric, 60)},
	"flutterwave-key FLWSECK_TEST-": {body: func(r *rand.Rand) string { return random(r, "0-9a-h", 32) + "-X" }},
	"plaid-token access-sandbox-":   {body: newUUID, similar: []string{"access-sandbox-mode"}},
	"authorization Basic ": {body: func(r *rand.Rand) string {
		return base64.StdEncoding.EncodeToString([]byte("user:" + random(r, alphanumeric, 12)))
	}, similar: []string{"Basic information", "Basic " + base64.StdEncoding.EncodeToString([]byte("nothing like it"))}},
	"kubernetes-secret data": {whole: func(r *rand.Rand, start string) (string, string) {
		secret := base64.StdEncoding.EncodeToString([]byte(random(r, alphanumeric, 12)))
		return `{"apiVersion":"v1","` + start + `":{"a.b":"` + secret + `"},"kind":"Secret"}`, secret
	}, similar: []string{
		`{"apiVersion":"v1","data":{"a.b":"aGVsbG8gd29ybGQ="},"kind":"ConfigMap"}`, "kind: Secret\n---\ndata:\n  a: aGVsbG8gd29ybGQ=\n", "kind: SecretStore\ndata:\n  a: aGVsbG8gd29ybGQ=\n",
		"kind: Secret\ndata:\nmetadata:\n  name: shop-database\n", `{"kind":"Secret","data":{},"metadata":{"name":"shop-database"}}`, "kind: Secret\nmetadata: {name: shop-database}\ntype: Opaque\n", "kind: Secret\ndata:\n  a: {{ .Values.a }}\n  b: \"\"\n",
	}},
	"jwt ZXlK": {body: func(r *rand.Rand) string {
		return strings.TrimPrefix(base64.StdEncoding.EncodeToString([]byte(makeJWT(r)+"x")), "ZXlK")
	}, similar: []string{"ZXlK" + strings.Repeat("aB3d", 20)}},
	"url-password jdbc:oracle:thin:": {whole: func(r *rand.Rand, start string) (string, string) {
		secret := random(r, alphanumeric, 10)
		return start + "scott/" + secret + "@//db:1521/x", secret
	}, similar: []string{"jdbc:oracle:thin:@db:1521:x", "jdbc:oracle:thin:scott/${PASSWORD}@db:1521:x"}},
	"url-password  -u": {whole: func(r *rand.Rand, start string) (string, string) {
		secret := random(r, alphanumeric, 10)
		return "curl -s" + start + " shop:" + secret + " https://x", secret
	}, similar: []string{"curl -u shop https://x", "curl -u shop:$PASSWORD https://x", "docker run -u 1000:1000 x", "curl -u shop:[redacted:password#1] https://x", "curl -u 'shop:***' https://x"}},
	"password  -p": {whole: func(r *rand.Rand, start string) (string, string) {
		secret := random(r, alphanumeric, 10)
		command := map[string]string{" -p": "docker login -u shop", " -P": "sqlcmd -U shop", " -a": "redis-cli -h db", " -w": "ldapsearch -D cn=shop"}[start]
		return command + start + " " + secret + " x", secret
	}, similar: []string{"mkdir -p /var/lib/shop", "docker login -u shop -p $PASSWORD", "docker login x; cp -p abcdef ghi", "mysql -p shopdata", "redis-cli -a", "sshpass -p -x", "docker run -p 8080:80", "sshpass -p '***'"}},
	"password identified by": {whole: func(r *rand.Rand, start string) (string, string) {
		secret := random(r, alphanumeric, 10)
		return "ALTER USER shop " + strings.TrimSuffix(start, " '") + " '" + secret + "';", secret
	}, similar: []string{"IDENTIFIED BY '<password>'", "identified by its 'name'", "password '%s'", "the password '' is empty", "PASSWORD '", "the password isn't 'x'"}},
	"password login ": {whole: func(r *rand.Rand, start string) (string, string) {
		secret := random(r, alphanumeric, 10)
		return "machine git.example " + start + "shop password " + secret, secret
	}, similar: []string{"login failed password wrong1", "machine x login y password ${P}", "the machine said login y account z"}},
	"password-hash $2a$":               {body: func(r *rand.Rand) string { return "12$" + random(r, "./"+alphanumeric, 53) }},
	"password-hash $1$":                {body: func(r *rand.Rand) string { return random(r, alphanumeric, 8) + "$" + random(r, alphanumeric, 43) }},
	"twitter-token twitter":            {body: func(r *rand.Rand) string { return random(r, digits, 18) + "-" + random(r, alphanumeric, 40) }},
	"twitter-bearer-token twitter":     {body: func(r *rand.Rand) string { return strings.Repeat("A", 22) + random(r, alphanumeric, 90) }},
	"telegram-token telegr":            {body: func(r *rand.Rand) string { return "12" + random(r, digits, 3) + ":A" + random(r, alphanumeric, 34) }},
	"sidekiq-secret __contribsys__com": {body: func(r *rand.Rand) string { return random(r, lowerHex, 8) + ":" + random(r, lowerHex, 8) }},
	"mailgun-key mailgun":              {body: func(r *rand.Rand) string { return "key-" + random(r, lowerHex, 32) }},
	"mailgun-signing-key mailgun": {body: func(r *rand.Rand) string {
		return random(r, lowerHex, 32) + "-" + random(r, lowerHex, 8) + "-" + random(r, lowerHex, 8)
	}},
	"mailchimp-key mailchimp": {body: func(r *rand.Rand) string { return random(r, lowerHex, 32) + "-us" + random(r, digits, 2) }},
	"yandex-key yandex":       {body: func(r *rand.Rand) string { return "aqvn" + random(r, alphanumeric, 36) }},
	"yandex-token yandex": {body: func(r *rand.Rand) string {
		return "T1." + random(r, alphanumeric, 60) + "." + random(r, alphanumeric, 86)
	}},
	"mapbox-token mapbox":         {body: func(r *rand.Rand) string { return "pk." + random(r, "0-9a-z", 60) + "." + random(r, "0-9a-z", 22) }},
	"beamer-token beamer":         {body: func(r *rand.Rand) string { return "b_" + random(r, alphanumeric, 44) }},
	"gocardless-token gocardless": {body: func(r *rand.Rand) string { return "live_" + random(r, alphanumeric, 40) }},
	"okta-token okta":             {body: func(r *rand.Rand) string { return "00" + random(r, alphanumeric, 40) }},
	"sumologic-access-id sumo":    {body: func(r *rand.Rand) string { return "su" + random(r, alphanumeric, 12) }},
	"yandex-access-key yandex":    {body: func(r *rand.Rand) string { return "YC" + random(r, alphanumeric, 38) }},
	"dropbox-short-token dropbox": {body: func(r *rand.Rand) string { return "sl." + random(r, alphanumeric, 135) }},
	"dropbox-token dropbox": {body: func(r *rand.Rand) string {
		return random(r, "0-9a-z", 11) + strings.Repeat("A", 10) + random(r, alphanumeric, 43)
	}},
	"kraken-token kraken":               {body: of(alphanumeric+"+/", 88)},
	"heroku-api-key heroku":             {body: newUUID},
	"hubspot-key hubspot":               {body: newUUID},
	"kucoin-secret-key kucoin":          {body: newUUID},
	"messagebird-client-id messagebird": {body: newUUID},
	"sendbird-app-id sendbird":          {body: newUUID},
	"snyk-token snyk":                   {body: newUUID},
	"squarespace-token squarespace":     {body: newUUID},
}

func newUUID(r *rand.Rand) string {
	s := random(r, lowerHex, 32)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// make returns a secret of a format behind one of its prefixes or names, and of it what must not be seen.
func (s specimen) make(r *rand.Rand, f format, start string) (text, secret string) {
	if s.whole != nil {
		return s.whole(r, start)
	}
	body := ""
	for {
		if s.body != nil {
			body = s.body(r)
		} else {
			body = random(r, f.alphabet, max(f.min, 1))
		}
		first, last := body[0], body[len(body)-1]
		if f.names != nil || (f.lead > 0 || f.check == nil || f.check(body)) && first != '=' && (s.body != nil || last != '.' && last != '=') {
			break
		}
	}
	switch {
	case slices.Contains(f.services, start):
		return fmt.Sprintf("%s_%s=%s", start, []string{"key", "apiToken", "client-secret"}[r.IntN(3)], body), body
	case slices.Contains(f.names, start):
		value := body
		switch row(f) {
		case "authorization authorization":
			value = strings.TrimPrefix(body, "Basic ")
		case "cookie ^setcookie":
			value = strings.TrimPrefix(body, "session=")
		case "gcp-private-key privatekey":
			value = strings.Trim(body, `"`)
		}
		return strings.NewReplacer("^", "", "_", "db_").Replace(start) + "=" + body, value
	case f.keep:
		return start + body, body
	case s.lead != nil:
		start = s.lead(r) + start
	}
	return start + body, start + body
}

// similar returns what the row itself says is none: its prefix alone, too little after it, and one letter again and
// again.
func similar(f format) []string {
	if f.alphabet == "" || f.names != nil {
		return nil
	}
	letters := random(rand.New(rand.NewPCG(1, 1)), f.alphabet, 2)
	var texts []string
	for _, start := range f.prefixes {
		lead := strings.Repeat(letters[:1], f.lead)
		texts = append(texts, lead+start, lead+start+strings.Repeat(letters[:1], f.min))
		if f.min > 8 {
			texts = append(texts, lead+start+strings.Repeat(letters, f.min/2-1))
		}
	}
	for _, word := range f.services {
		word = strings.TrimSuffix(word, ",")
		texts = append(texts, word+"_sha256: "+random(rand.New(rand.NewPCG(1, 2)), lowerHex, f.min), word+" key: "+strings.Repeat(letters[:1], f.min), word+" "+random(rand.New(rand.NewPCG(1, 3)), f.alphabet, f.min))
	}
	return texts
}

// TestFormats: every prefix and every name of every row of the table finds its secrets, exactly and by that row, and
// leaves what is similar alone. A row without both kinds of specimen fails.
func TestFormats(t *testing.T) {
	used := map[string]bool{}
	s := New()
	for i := range s.matcher.formats {
		f := &s.matcher.formats[i]
		own := specimens[row(*f)]
		used[row(*f)] = true
		t.Run(row(*f), func(t *testing.T) {
			own.similar = slices.Concat(own.similar, similar(*f))
			if len(own.similar) == 0 {
				t.Fatal("the row has no specimens: give it a secret, and a text that is similar and none")
			}
			if f.provider == "" || f.id == "" || f.prefixes == nil && f.names == nil && f.services == nil {
				t.Error("a row has a provider, an id, and prefixes, names or services")
			}
			for _, c := range []byte(" \t\n\\\"'`") {
				if f.set[c] {
					t.Errorf("%q is in the alphabet", c)
				}
			}
			r := rand.New(rand.NewPCG(1, uint64(i)))
			for _, start := range starts(*f) {
				for range 20 {
					text, secret := own.make(r, *f, start)
					sc := scan{matcher: s.matcher, text: text}
					h, found := sc.next()
					if !found {
						t.Fatalf("%q: not found", text)
					}
					if got := text[h.from:h.to]; got != secret {
						t.Fatalf("%q: found %q, want %q", text, got, secret)
					}
					if h.format != f {
						t.Fatalf("%q: found by the row %q", text, row(*h.format))
					}
					if want := strings.Replace(text, secret, "[redacted:"+h.format.id+"#1]", 1); Text(text) != want {
						t.Fatalf("Text(%q) = %q, want %q", text, Text(text), want)
					}
				}
			}
			if f.find == nil && f.within == nil && f.proof == nil && f.prefixes != nil && isAlphanumeric(f.prefixes[0][0]) {
				text, _ := own.make(r, *f, f.prefixes[0])
				own.similar = append(own.similar, "x"+text, "9"+text)
			}
			for _, text := range own.similar {
				if got := Text(text); got != text {
					t.Errorf("no secret, and redacted: %q became %q", text, got)
				}
			}
		})
	}
	for name := range specimens {
		if !used[name] {
			t.Errorf("specimens for a row that is not in the table: %s", name)
		}
	}
}

// TestWords: every word that steers the matching by names does.
func TestWords(t *testing.T) {
	m := compile()
	for _, ending := range innocent() {
		text := "x_" + ending + "=aB3dE6gH" + "9kLmNpQr"
		if got := Text(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
		needed := *m
		needed.innocent = nil
		if needed.named(newName("x_"+ending)) == nil {
			t.Errorf("%q has no format, so it need not be listed", ending)
		}
	}
	for _, word := range qualifiers() {
		text := "DB_PASSWORD_" + strings.ToUpper(word) + "=hunter2"
		if want := strings.Replace(text, "hunter2", "[redacted:password#1]", 1); Text(text) != want {
			t.Errorf("Text(%q) = %q, want %q", text, Text(text), want)
		}
	}
	var unchanged []string
	for _, word := range placeholders() {
		unchanged = append(unchanged, "password: "+word, "password="+strings.ToUpper(word))
	}
	for _, prefix := range elsewhere() {
		unchanged = append(unchanged, "password: "+prefix+"x1y2")
	}
	for _, prefix := range variables() {
		unchanged = append(unchanged, "password = "+prefix+"x1y2")
	}
	for _, text := range unchanged {
		if got := Text(text); got != text {
			t.Errorf("%q became %q", text, got)
		}
	}
}

func TestChecksum(t *testing.T) {
	// The published example of a token that is none.
	if body := "zQWBuTSOoRi4A9spHcVY5ncn" + "sDkxkJ0mLq17"; !checksummed(body) || checksummed("a"+body[1:]) {
		t.Errorf("checksum(%q) = %q", body[:30], checksum(body[:30]))
	}
}

// TestProof: a checksum that is right outweighs what stands around; one that is wrong does not excuse a token that
// stands alone, since a format can change.
func TestProof(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	right, wrong := "ghp_"+withChecksum(r), "ghp_"+random(r, alphanumeric, 36)
	for _, tc := range []struct{ in, want string }{
		{"abc" + right + "def", "abc[redacted:github-token#1]def"},
		{"abc" + wrong + "def", "abc" + wrong + "def"},
		{"abc " + wrong + " def", "abc [redacted:github-token#1] def"},
	} {
		if got := Text(tc.in); got != tc.want {
			t.Errorf("Text(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func ExampleScrubber() {
	s := New()
	fmt.Println(s.Text("POSTGRES_PASSWORD=correct-horse"))
	fmt.Println(s.Text("REDIS_PASSWORD=battery-staple"))
	fmt.Println(s.Text("postgres://shop:correct-horse@db:5432/shop"))
	// Output:
	// POSTGRES_PASSWORD=[redacted:password#1]
	// REDIS_PASSWORD=[redacted:password#2]
	// postgres://shop:[redacted:password#1]@db:5432/shop
}

// What begins like a secret again and again is read once: in quadratic time these would take an hour.
func TestHostileText(t *testing.T) {
	for _, unit := range []string{"LS0tLS1CRUdJTi", "xya29.", "privatekey=-----BEGIN PRIVATE KEY-----", "eyJ", "ghp_", "https://a:", "password '", "curl -u ", "://a:", "1|", "cGFz", "%25", "login "} {
		text := strings.Repeat(unit, 4<<20/len(unit))
		if got := New().Text(text); len(got) > 4*len(text) {
			t.Errorf("%d bytes of %q become %d", len(text), unit, len(got))
		}
	}
}
