package reference

import (
	"os"
	"path/filepath"
	"testing"
)

// The reference in docs/ is what the commands say of themselves, no more and no
// less.
func TestUpToDate(t *testing.T) {
	want, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	docs := filepath.Join("..", "..", "docs")
	for name, content := range want {
		got, err := os.ReadFile(filepath.Join(docs, filepath.FromSlash(name)))
		if err != nil {
			t.Errorf("run make generate: %v", err)
		} else if string(got) != string(content) {
			t.Errorf("docs/%s is out of date: run make generate", name)
		}
	}
	for _, dir := range []string{Pages, ManPages} {
		files, err := os.ReadDir(filepath.Join(docs, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if want[dir+"/"+f.Name()] == nil {
				t.Errorf("docs/%s/%s is about no command: remove it", dir, f.Name())
			}
		}
	}
}
