// Package test holds the rules of this repository as tests: which package may
// import which, what the documents promise, how long a function may be.
package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// module is the path of this module, as go.mod names it.
const module = "github.com/api-gpu/api-gpu"

// root is the repository, seen from this folder.
const root = ".."

// sourceFile is a parsed Go file of this module.
type sourceFile struct {
	path string // from the root, with slashes
	pkg  string // folder of its package, "." for the root
	text string
	ast  *ast.File
	fset *token.FileSet
}

func (f sourceFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

// foreign reports whether a folder of this name is no part of the source.
func foreign(name string) bool {
	switch name {
	case ".git", "bin", "data", "demo", "dist", "node_modules", "testdata":
		return true
	}
	return false
}

// walk calls visit with each file of the repository, tools included.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && foreign(entry.Name()):
			return filepath.SkipDir
		case entry.Type().IsRegular():
			rel, err := filepath.Rel(root, name)
			if err != nil {
				return err
			}
			visit(filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// sources parses every Go file of this module, for every system that it is
// built for. The tools are a module of their own.
func sources(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	walk(t, func(name string) {
		if !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "tools/") {
			return
		}
		fset, text := token.NewFileSet(), read(t, name)
		parsed, err := parser.ParseFile(fset, name, text, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, sourceFile{path: name, pkg: path.Dir(name), text: text, ast: parsed, fset: fset})
	})
	if len(files) < 50 {
		t.Fatalf("found %d Go files: the walk is wrong", len(files))
	}
	return files
}

// read returns a file of the repository.
func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
