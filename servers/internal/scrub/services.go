package scrub

import "strings"

const (
	maxServiceName = 24 // bytes of a name after the service's word
	maxServiceGap  = 16 // bytes of quotes, blanks and separators between a name and a value
)

// services returns the rows of secrets that nothing tells but the service's word in the name before them: random
// letters and digits, of one length.
func services() []format {
	rows := []format{
		{provider: "Adafruit", id: "adafruit-key", services: []string{"adafruit"}, alphabet: base64URL, min: 32},
		{provider: "Adobe", id: "adobe-client-id", services: []string{"adobe"}, alphabet: anyHex, min: 32},
		{provider: "Airtable", id: "airtable-key", services: []string{"airtable"}, alphabet: alphanumeric, min: 17},
		{provider: "Algolia", id: "algolia-key", services: []string{"algolia"}, alphabet: alphanumeric, min: 32},
		{provider: "Alibaba Cloud", id: "alibaba-secret-key", services: []string{"alibaba", "aliyun"}, alphabet: alphanumeric, min: 30},
		{provider: "Asana", id: "asana-client-id", services: []string{"asana"}, alphabet: digits, min: 16},
		{provider: "Asana", id: "asana-client-secret", services: []string{"asana"}, alphabet: alphanumeric, min: 32},
		{provider: "Atlassian", id: "atlassian-token", services: []string{"atlassian", "confluence", "jira"}, alphabet: alphanumeric, min: 24},
		{provider: "Beamer", id: "beamer-token", services: []string{"beamer"}, alphabet: padded, min: 46, check: begins("b_")},
		{provider: "Bitbucket", id: "bitbucket-client-id", services: []string{"bitbucket"}, alphabet: alphanumeric, min: 32},
		{provider: "Bitbucket", id: "bitbucket-client-secret", services: []string{"bitbucket"}, alphabet: padded, min: 64},
		{provider: "Bittrex", id: "bittrex-key", services: []string{"bittrex"}, alphabet: alphanumeric, min: 32},
		{provider: "Cisco Meraki", id: "meraki-key", services: []string{"meraki"}, alphabet: anyHex, min: 40},
		{provider: "Cloudflare", id: "cloudflare-token", services: []string{"cloudflare"}, alphabet: base64URL, min: 40},
		{provider: "Cloudflare", id: "cloudflare-key", services: []string{"cloudflare"}, alphabet: anyHex, min: 37},
		{provider: "Codecov", id: "codecov-token", services: []string{"codecov"}, alphabet: alphanumeric, min: 32},
		{provider: "Cohere", id: "cohere-key", services: []string{"cohere", "co_api_key"}, alphabet: alphanumeric, min: 40},
		{provider: "Coinbase", id: "coinbase-token", services: []string{"coinbase"}, alphabet: base64URL, min: 64},
		{provider: "Confluent", id: "confluent-token", services: []string{"confluent"}, alphabet: alphanumeric, min: 16},
		{provider: "Confluent", id: "confluent-secret-key", services: []string{"confluent"}, alphabet: alphanumeric, min: 64},
		{provider: "Contentful", id: "contentful-token", services: []string{"contentful"}, alphabet: padded, min: 43},
		{provider: "Datadog", id: "datadog-token", services: []string{"datadog"}, alphabet: alphanumeric, min: 40},
		{provider: "Discord", id: "discord-token", services: []string{"discord"}, alphabet: anyHex, min: 64},
		{provider: "Discord", id: "discord-client-id", services: []string{"discord"}, alphabet: digits, min: 18},
		{provider: "Discord", id: "discord-client-secret", services: []string{"discord"}, alphabet: padded, min: 32},
		{provider: "Drone CI", id: "droneci-token", services: []string{"droneci"}, alphabet: alphanumeric, min: 32},
		{provider: "Dropbox", id: "dropbox-secret", services: []string{"dropbox"}, alphabet: alphanumeric, min: 15},
		{provider: "Dropbox", id: "dropbox-token", services: []string{"dropbox"}, alphabet: padded, min: 64, check: drawnMix}, // zeros in its middle
		{provider: "Dropbox", id: "dropbox-short-token", services: []string{"dropbox"}, alphabet: padded + ".", min: 138, check: begins("sl.")},
		{provider: "Etsy", id: "etsy-token", services: []string{"etsy"}, alphabet: alphanumeric, min: 24},
		{provider: "Facebook", id: "facebook-secret", services: []string{"facebook"}, alphabet: anyHex, min: 32},
		{provider: "Fastly", id: "fastly-token", services: []string{"fastly"}, alphabet: padded, min: 32},
		{provider: "Finicity", id: "finicity-token", services: []string{"finicity"}, alphabet: anyHex, min: 32},
		{provider: "Finicity", id: "finicity-client-secret", services: []string{"finicity"}, alphabet: alphanumeric, min: 20},
		{provider: "Finnhub", id: "finnhub-token", services: []string{"finnhub"}, alphabet: alphanumeric, min: 20},
		{provider: "Flickr", id: "flickr-token", services: []string{"flickr"}, alphabet: alphanumeric, min: 32},
		{provider: "FreshBooks", id: "freshbooks-token", services: []string{"freshbooks"}, alphabet: alphanumeric, min: 64},
		{provider: "Gitter", id: "gitter-token", services: []string{"gitter"}, alphabet: base64URL, min: 40},
		{provider: "GoCardless", id: "gocardless-token", services: []string{"gocardless"}, alphabet: padded, min: 45, check: begins("live_")},
		{provider: "Heroku", id: "heroku-api-key", services: []string{"heroku"}, alphabet: anyHex + "-", min: 36, check: uuid},
		{provider: "HubSpot", id: "hubspot-key", services: []string{"hubspot"}, alphabet: anyHex + "-", min: 36, check: uuid},
		{provider: "Intercom", id: "intercom-key", services: []string{"intercom"}, alphabet: padded, min: 60},
		{provider: "JFrog", id: "jfrog-key", services: []string{"jfrog", "artifactory", "bintray", "xray"}, alphabet: alphanumeric, min: 73},
		{provider: "JFrog", id: "jfrog-token", services: []string{"jfrog", "artifactory", "bintray", "xray"}, alphabet: alphanumeric, min: 64},
		{provider: "Kraken", id: "kraken-token", services: []string{"kraken"}, alphabet: padded + "+/", min: 80, max: 90},
		{provider: "KuCoin", id: "kucoin-token", services: []string{"kucoin"}, alphabet: anyHex, min: 24},
		{provider: "KuCoin", id: "kucoin-secret-key", services: []string{"kucoin"}, alphabet: anyHex + "-", min: 36, check: uuid},
		{provider: "LaunchDarkly", id: "launchdarkly-token", services: []string{"launchdarkly"}, alphabet: padded, min: 40},
		{provider: "Linear", id: "linear-client-secret", services: []string{"linear"}, alphabet: anyHex, min: 32},
		{provider: "LinkedIn", id: "linkedin-client-id", services: []string{"linkedin", "linked_in", "linked-in"}, alphabet: alphanumeric, min: 14},
		{provider: "LinkedIn", id: "linkedin-client-secret", services: []string{"linkedin", "linked_in", "linked-in"}, alphabet: alphanumeric, min: 16},
		{provider: "Looker", id: "looker-client-id", services: []string{"looker"}, alphabet: alphanumeric, min: 20},
		{provider: "Looker", id: "looker-client-secret", services: []string{"looker"}, alphabet: alphanumeric, min: 24},
		{provider: "Mailgun", id: "mailgun-key", services: []string{"mailgun"}, alphabet: anyHex + "kpuyKPUY-", min: 36, max: 39, check: begins("key-", "pubkey-")},
		{provider: "Mailgun", id: "mailgun-signing-key", services: []string{"mailgun"}, alphabet: alphanumeric + "-", min: 50, check: groups("-", 32, 8, 8)},
		{provider: "Mailchimp", id: "mailchimp-key", services: []string{"mailchimp"}, alphabet: anyHex + "usUS-", min: 36, max: 37, check: mailchimp},
		{provider: "Mapbox", id: "mapbox-token", services: []string{"mapbox"}, alphabet: alphanumeric + ".", min: 86, check: begins("pk.", "sk.", "tk.")},
		{provider: "Mattermost", id: "mattermost-token", services: []string{"mattermost"}, alphabet: alphanumeric, min: 26},
		{provider: "MessageBird", id: "messagebird-token", services: []string{"messagebird", "message_bird", "message-bird"}, alphabet: alphanumeric, min: 25},
		{provider: "MessageBird", id: "messagebird-client-id", services: []string{"messagebird", "message_bird", "message-bird"}, alphabet: anyHex + "-", min: 36, check: uuid},
		{provider: "Netlify", id: "netlify-token", services: []string{"netlify"}, alphabet: padded, min: 40, max: 46},
		{provider: "New Relic", id: "newrelic-key", services: []string{"newrelic", "new_relic", "new-relic"}, alphabet: alphanumeric, min: 64},
		{provider: "New York Times", id: "nytimes-token", services: []string{"nytimes", "newyorktimes", "new-york-times", "new-york-times,"}, alphabet: padded, min: 32},
		{provider: "Okta", id: "okta-token", services: []string{"okta"}, alphabet: padded, min: 42, check: begins("00")},
		{provider: "Plaid", id: "plaid-client-id", services: []string{"plaid"}, alphabet: alphanumeric, min: 24},
		{provider: "Plaid", id: "plaid-secret-key", services: []string{"plaid"}, alphabet: alphanumeric, min: 30},
		{provider: "Private AI", id: "privateai-token", services: []string{"privateai", "private_ai", "private-ai"}, alphabet: alphanumeric, min: 32},
		{provider: "RapidAPI", id: "rapidapi-token", services: []string{"rapidapi"}, alphabet: base64URL, min: 50},
		{provider: "Sendbird", id: "sendbird-app-id", services: []string{"sendbird"}, alphabet: anyHex + "-", min: 36, check: uuid},
		{provider: "Sendbird", id: "sendbird-token", services: []string{"sendbird"}, alphabet: anyHex, min: 40},
		{provider: "Sentry", id: "sentry-token", services: []string{"sentry"}, alphabet: anyHex, min: 64},
		{provider: "Sidekiq", id: "sidekiq-secret", services: []string{"__contribsys__com"}, alphabet: anyHex + ":", min: 17, check: groups(":", 8, 8)},
		{provider: "Snyk", id: "snyk-token", services: []string{"snyk"}, alphabet: anyHex + "-", min: 36, check: uuid},
		{provider: "SonarQube", id: "sonar-token", services: []string{"sonar"}, alphabet: padded, min: 40, max: 44},
		{provider: "Sourcegraph", id: "sourcegraph-token", services: []string{"sourcegraph"}, alphabet: anyHex, min: 40},
		{provider: "Squarespace", id: "squarespace-token", services: []string{"squarespace"}, alphabet: anyHex + "-", min: 36, check: uuid},
		{provider: "Sumo Logic", id: "sumologic-access-id", services: []string{"sumo"}, alphabet: alphanumeric, min: 14, check: begins("su")},
		{provider: "Sumo Logic", id: "sumologic-token", services: []string{"sumo"}, alphabet: alphanumeric, min: 64},
		{provider: "Telegram", id: "telegram-token", services: []string{"telegr"}, alphabet: base64URL + ":", min: 41, max: 52, check: telegramToken},
		{provider: "Travis CI", id: "travis-token", services: []string{"travis"}, alphabet: alphanumeric, min: 22},
		{provider: "Twitch", id: "twitch-token", services: []string{"twitch"}, alphabet: alphanumeric, min: 30},
		{provider: "Twitter", id: "twitter-key", services: []string{"twitter"}, alphabet: alphanumeric, min: 25},
		{provider: "Twitter", id: "twitter-secret", services: []string{"twitter"}, alphabet: alphanumeric, min: 45},
		{provider: "Twitter", id: "twitter-api-secret", services: []string{"twitter"}, alphabet: alphanumeric, min: 50},
		{provider: "Twitter", id: "twitter-token", services: []string{"twitter"}, alphabet: alphanumeric + "-", min: 36, max: 66, check: twitterToken},
		{provider: "Twitter", id: "twitter-bearer-token", services: []string{"twitter"}, alphabet: alphanumeric + "%", min: 102, max: 122, check: begins("AAAAAAAAAAAAAAAAAAAAAA")},
		{provider: "Yandex Cloud", id: "yandex-key", services: []string{"yandex"}, alphabet: base64URL, min: 39, max: 42, check: begins("AQVN")},
		{provider: "Yandex Cloud", id: "yandex-token", services: []string{"yandex"}, alphabet: dotted + "=", min: 90, max: 1024, check: begins("t1.")},
		{provider: "Yandex Cloud", id: "yandex-access-key", services: []string{"yandex"}, alphabet: base64URL, min: 40, check: begins("YC")},
		{provider: "Zendesk", id: "zendesk-key", services: []string{"zendesk"}, alphabet: alphanumeric, min: 40},
	}
	for i := range rows {
		if rows[i].check == nil {
			rows[i].check = drawnMix
			if rows[i].alphabet == digits || rows[i].alphabet == anyHex {
				rows[i].check = varied
			}
		}
		if rows[i].max == 0 {
			rows[i].max = rows[i].min
		}
	}
	return rows
}

// digestWords are what stands right before a digest, whatever the name before it.
var digestWords = []string{"sha", "md5", "sha1", "sha256", "sha512", "digest", "commit", "revision", "checksum", "etag", "version", "image", "tag", "hash"} //nolint:gochecknoglobals // a table, never changed

// service finds the value of a name in which a service's word stands.
func (sc *scan) service(a anchor, at int) (hit, bool) {
	text, f := sc.text, a.format
	i := at + len(a.literal)
	limit := min(len(text), i+maxServiceName)
	for i < limit && (isNameByte(text[i]) || isBlank(text[i])) {
		i++
	}
	if i == len(text) {
		return hit{}, false
	}
	name := strings.TrimRight(text[at:i], blank)
	for _, word := range digestWords {
		if strings.HasSuffix(name, word) {
			return hit{}, false
		}
	}
	from, separated := i, false
	for end := min(len(text), i+maxServiceGap); from < end && strings.IndexByte("'\"`\\[]=:>|?,"+blank, text[from]) >= 0; from++ {
		separated = separated || strings.IndexByte("=:>|,", text[from]) >= 0
	}
	if !separated {
		return hit{}, false
	}
	to := f.run(text, from, min(len(text), from+f.max+1))
	for to-from < f.min && from > i && text[from-1] == '=' && f.set['='] { // the first byte of the value
		from--
	}
	if to-from < f.min || to-from > f.max || to < len(text) && strings.IndexByte("'\"`\\;,)}]<>&| \t\r\n", text[to]) < 0 || !f.check(text[from:to]) {
		return hit{}, false
	}
	return sc.specific(hit{from: from, to: to, format: f}), true
}
