package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// source is a package with its files, tests left out.
type source struct {
	goPackage
	files []*ast.File
	set   *token.FileSet
}

func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, p := range packages(t) {
		s := source{goPackage: p, set: token.NewFileSet()}
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(s.set, filepath.Join(p.Dir, name), nil, parser.ParseComments|parser.SkipObjectResolution)
			require.NoError(t, err)
			s.files = append(s.files, f)
		}
		all = append(all, s)
	}
	return all
}

func (s source) at(n ast.Node) token.Position { return s.set.Position(n.Pos()) }

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		documented := 0
		for _, f := range s.files {
			if f.Doc.Text() != "" {
				documented++
			}
		}
		if len(s.files) > 0 {
			assert.Equal(t, 1, documented, "%s: one file has the comment of the package", s.name())
		}
	}
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		for _, f := range s.files {
			for _, decl := range f.Decls {
				for _, name := range undocumented(decl) {
					if isInternal(s.name()) && (name.Name == "Error" || name.Name == "Unwrap") {
						continue // what everybody knows needs saying in the documentation only
					}
					assert.Fail(t, "no comment", "%s: %s", s.at(name), name.Name)
				}
			}
		}
	}
}

// undocumented are the exported names of a declaration that have no comment, neither their own nor that of their group.
func undocumented(decl ast.Decl) []*ast.Ident {
	var names []*ast.Ident
	switch decl := decl.(type) {
	case *ast.FuncDecl:
		if decl.Doc.Text() == "" && exportedReceiver(decl) {
			names = append(names, decl.Name)
		}
	case *ast.GenDecl:
		if decl.Doc.Text() != "" {
			return nil
		}
		for _, spec := range decl.Specs {
			switch spec := spec.(type) {
			case *ast.TypeSpec:
				if spec.Doc.Text() == "" && spec.Comment.Text() == "" {
					names = append(names, spec.Name)
				}
			case *ast.ValueSpec:
				if spec.Doc.Text() == "" && spec.Comment.Text() == "" {
					names = append(names, spec.Names...)
				}
			}
		}
	}
	var exported []*ast.Ident
	for _, name := range names {
		if name.IsExported() {
			exported = append(exported, name)
		}
	}
	return exported
}

// exportedReceiver reports whether others can see the function: it is no method, or one of an exported type.
func exportedReceiver(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	for typ := f.Recv.List[0].Type; ; {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			return t.IsExported()
		default:
			return true
		}
	}
}

// A library that starts goroutines, or does something when it is imported, surprises its host.
func TestTheLibraryStartsNothing(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if isExample(s.name()) || s.name() == "internal/storetest" {
			continue
		}
		for _, f := range s.files {
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					assert.Fail(t, "a goroutine", s.at(n).String())
				case *ast.SelectorExpr:
					assert.False(t, n.Sel.Name == "Go" || n.Sel.Name == "AfterFunc", "%s: a goroutine", s.at(n))
				case *ast.FuncDecl:
					assert.False(t, n.Recv == nil && n.Name.Name == "init", "%s: an effect of being imported", s.at(n))
				}
				return true
			})
		}
	}
}
