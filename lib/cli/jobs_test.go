package cli

import "testing"

func TestJobs(t *testing.T) {
	for text, want := range map[string]int{"0": 7, "1": 1, "256": 256} {
		var j Jobs
		if err := j.UnmarshalFlag(text); err != nil || j.Or(7) != want {
			t.Errorf("%s: %d, %v", text, j.Or(7), err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.5", "257", "1152921504606846976", "99999999999999999999"} {
		j := Jobs(42)
		if err := j.UnmarshalFlag(text); err == nil || j != 42 {
			t.Errorf("%q is taken for %d", text, j)
		}
	}
}
