package githubtest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
)

// vocabulary are the words of a language that nobody speaks, the most frequent first: short ones, as in any.
var vocabulary = sync.OnceValue(func() []string {
	random := rand.New(rand.NewPCG(7, 7))
	all := make([]string, 4000)
	for i := range all {
		word := make([]byte, 2+random.IntN(3+min(i/40, 7)))
		for j := range word {
			word[j] = "etaoinshrdlucmfwypvbgkjqxz"[min(int(random.ExpFloat64()*7), 25)]
		}
		all[i] = string(word)
	}
	return all
})

// prose is what people write about a pull request, 500 to 3,000 bytes: it repeats itself as little as that does.
func prose(random *rand.Rand) string {
	words := vocabulary()
	var b strings.Builder
	for range 2 + random.IntN(5) {
		switch random.IntN(4) {
		case 0:
			fmt.Fprintf(&b, "## %s\n\n", sentence(random, words))
		case 1:
			for range 2 + random.IntN(4) {
				fmt.Fprintf(&b, "- [ ] %s\n", sentence(random, words))
			}
		case 2:
			fmt.Fprintf(&b, "See https://example.org/%s/issues/%d and %016x.\n", words[random.IntN(len(words))], random.IntN(10_000), random.Uint64())
		}
		for range 2 + random.IntN(4) {
			b.WriteString(sentence(random, words) + ". ")
		}
		b.WriteString("\n\n")
	}
	return b.String()
}

// sentence uses each word about as often as a language does.
func sentence(random *rand.Rand, words []string) string {
	all := make([]string, 6+random.IntN(14))
	for i := range all {
		all[i] = words[min(int(random.ExpFloat64()*300), len(words)-1)]
	}
	return strings.Join(all, " ")
}
