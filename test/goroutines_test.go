package test

import (
	"go/ast"
	"strings"
	"testing"
)

// TestGoroutinesAreWatched finds packages that start goroutines and whose tests
// do not look for those that are left at the end.
func TestGoroutinesAreWatched(t *testing.T) {
	t.Parallel()
	starts, watched := map[string]string{}, map[string]bool{}
	for _, f := range sources(t) {
		if f.isTest() {
			watched[f.pkg] = watched[f.pkg] || strings.Contains(f.text, "goleak.VerifyTestMain(")
			continue
		}
		if where := startsGoroutine(f); where != "" {
			starts[f.pkg] = where
		}
	}
	for pkg, where := range starts {
		if !watched[pkg] {
			t.Errorf("%s starts a goroutine, and the tests of %s do not call goleak.VerifyTestMain", where, pkg)
		}
	}
	if len(starts) < 10 {
		t.Errorf("only %d packages start goroutines: the search is wrong", len(starts))
	}
}

// startsGoroutine returns where a file does so: by go, or by a Go or an
// AfterFunc, whoever's it is.
func startsGoroutine(f sourceFile) (where string) {
	ast.Inspect(f.ast, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			where = f.fset.Position(n.Pos()).String()
		case *ast.SelectorExpr:
			if n.Sel.Name == "Go" || n.Sel.Name == "AfterFunc" {
				where = f.fset.Position(n.Pos()).String()
			}
		}
		return where == ""
	})
	return where
}
