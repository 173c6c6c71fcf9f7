// Command exported counts what each package of a source tree exports: names, methods and fields. With -list it prints
// them. scripts/api runs it on two commits and compares.
package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// An api is what a package exports.
type api struct{ names, methods, fields []string }

func main() {
	list := flag.Bool("list", false, "print each name, method and field")
	flag.Usage = func() { fmt.Fprintln(os.Stderr, "usage: exported [-list] DIR") }
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	packages, err := read(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		p := packages[dir]
		if !*list {
			fmt.Println(dir, len(p.names), len(p.methods), len(p.fields))
			continue
		}
		for _, all := range [][]string{p.names, p.methods, p.fields} {
			slices.Sort(all)
			for _, name := range all {
				fmt.Println(dir, name)
			}
		}
	}
}

// read returns the packages below root that others may import, by their folder.
func read(root string) (map[string]*api, error) {
	packages := make(map[string]*api)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			switch name := entry.Name(); {
			case path == root:
			case strings.HasPrefix(name, "."), name == "internal", name == "testdata", name == "tools", name == "examples", name == "benchmarks":
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if file.Name.Name == "main" {
			return nil
		}
		dir, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		if packages[dir] == nil {
			packages[dir] = new(api)
		}
		packages[dir].add(file)
		return nil
	})
	return packages, err
}

func (p *api) add(file *ast.File) {
	for _, decl := range file.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if !d.Name.IsExported() {
				continue
			}
			if d.Recv == nil {
				p.names = append(p.names, d.Name.Name)
			} else if receiver := typeName(d.Recv.List[0].Type); ast.IsExported(receiver) {
				p.methods = append(p.methods, receiver+"."+d.Name.Name+"()")
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				p.addSpec(spec)
			}
		}
	}
}

func (p *api) addSpec(spec ast.Spec) {
	switch s := spec.(type) {
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() {
				p.names = append(p.names, name.Name)
			}
		}
	case *ast.TypeSpec:
		if !s.Name.IsExported() {
			return
		}
		p.names = append(p.names, s.Name.Name)
		switch t := s.Type.(type) {
		case *ast.StructType:
			for _, f := range t.Fields.List {
				if len(f.Names) == 0 && ast.IsExported(typeName(f.Type)) {
					p.fields = append(p.fields, s.Name.Name+"."+typeName(f.Type))
				}
				for _, name := range f.Names {
					if name.IsExported() {
						p.fields = append(p.fields, s.Name.Name+"."+name.Name)
					}
				}
			}
		case *ast.InterfaceType:
			for _, m := range t.Methods.List {
				for _, name := range m.Names {
					if name.IsExported() {
						p.methods = append(p.methods, s.Name.Name+"."+name.Name+"()")
					}
				}
			}
		}
	}
}

// typeName returns the name of a type without what it points at or is made from.
func typeName(e ast.Expr) string {
	switch t := e.(type) {
	case *ast.Ident:
		return t.Name
	case *ast.StarExpr:
		return typeName(t.X)
	case *ast.IndexExpr:
		return typeName(t.X)
	case *ast.IndexListExpr:
		return typeName(t.X)
	case *ast.SelectorExpr:
		return t.Sel.Name
	}
	return ""
}
