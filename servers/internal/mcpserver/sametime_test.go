package mcpserver

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"
	"time"
)

// manyTokens accepts "token-0" of "a", "token-1" of "b0" and so on, and at last "token-0" once more, of "z".
func manyTokens() *tokens {
	t := &tokens{}
	for i := range maxTokens - 1 {
		t.all = append(t.all, acceptedToken{sha256.Sum256(fmt.Appendf(nil, "token-%d", i)), fmt.Sprintf("holder-%d", i)})
	}
	t.all = append(t.all, acceptedToken{sha256.Sum256([]byte("token-0")), "last"})
	return t
}

// A lookup goes through all tokens whether or not it has found one: of two holders of the same token it is the last
// that is told. It allocates nothing that would tell one end from another.
func TestTokenLookupNeverStopsEarly(t *testing.T) {
	accepted := manyTokens()
	for token, want := range map[string]string{"token-0": "last", "token-1": "holder-1", "token-998": "holder-998", "token-": "", "x": ""} {
		if holder, ok := accepted.holder(t.Context(), token); holder != want || ok != (want != "") {
			t.Errorf("%s is of %q, %t; want %q", token, holder, ok, want)
		}
		if allocated := testing.AllocsPerRun(10, func() { accepted.holder(t.Context(), token) }); allocated != 0 {
			t.Errorf("%s: %v allocations", token, allocated)
		}
	}
}

// BenchmarkTokenLookup prints how long lookups take beside one of a token that nobody has.
func BenchmarkTokenLookup(b *testing.B) {
	accepted := manyTokens()
	names := []string{"nobody's", "token-1", "token-500", "token-998"}
	times := map[string][]time.Duration{}
	const rounds, lookups = 200, 20
	for range rounds {
		for _, token := range names {
			began := time.Now()
			for range lookups {
				accepted.holder(b.Context(), token)
			}
			times[token] = append(times[token], time.Since(began)/lookups)
		}
	}
	median := func(token string) float64 {
		slices.Sort(times[token])
		return times[token][rounds/2].Seconds()
	}
	for _, token := range names {
		b.Logf("%-10s %6.1f µs, %.3f of a token that nobody has", token, median(token)*1e6, median(token)/median(names[0]))
	}
}
