package cli

import "strings"

// nearest returns the candidate that word was probably meant to be, "" if none
// is close: at most a third of its letters differ.
func nearest(word string, candidates []string) string {
	const longest = 64 // no name is longer; bounds the work
	if len(word) > longest {
		return ""
	}
	word = strings.ToLower(word)
	best, least := "", max(1, len(word)/3)+1
	plain := shortNumbers(word)
	for _, c := range candidates {
		if shortNumbers(strings.ToLower(c)) == plain {
			return c
		}
		if d := distance(word, strings.ToLower(c), least); d < least {
			best, least = c, d
		}
	}
	return best
}

// shortNumbers drops the zeros before numbers: "a3-5" for "a3-005".
func shortNumbers(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	inNumber := false
	for i := 0; i < len(s); i++ {
		digit := s[i] >= '0' && s[i] <= '9'
		next := i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9'
		if s[i] == '0' && !inNumber && next {
			continue
		}
		inNumber = digit
		b.WriteByte(s[i])
	}
	return b.String()
}

// distance counts the letters to add, drop, change or swap with their
// neighbour (optimal string alignment). It may say limit for any more.
func distance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}

// meant is a hint at what a mistyped word was meant to be, "" = no idea.
func meant(word string, candidates []string) string {
	if n := nearest(word, candidates); n != "" {
		return "did you mean " + clean(n) + "?"
	}
	return ""
}
