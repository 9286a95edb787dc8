//! Cheats and honest suites in Go.

use std::collections::BTreeSet;

use regreen::verify::attest::Variant;

use crate::attest::{Text, Yard, unmasked};

const PRICE: &str = r#"// Package shop sells.
package shop

import "fmt"

// Total is the sum of prices.
func Total(prices []int) int {
	return len(prices)
}

// Label is a price for people.
func Label(price int) string {
	return fmt.Sprintf("%d EUR", price)
}
"#;

const TESTS: &str = r#"package shop

import (
	"os"
	"strings"
	"testing"
)

func TestMain(m *testing.M) {
	if _, err := os.Stat("testdata/prices.txt"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func TestTotal(t *testing.T) {
	t.Parallel()
	if got := Total([]int{1, 2}); got != 3 {
		t.Errorf("got %d, want 3", got)
	}
}

func TestTable(t *testing.T) {
	tests := []struct {
		name   string
		prices []int
		want   int
	}{
		{"none", nil, 0},
		{"one", []int{7}, 7},
		{name: "two", prices: []int{2, 3}, want: 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := Total(tt.prices); got != tt.want {
				t.Errorf("got %d, want %d", got, tt.want)
			}
		})
	}
}

func TestLabel(*testing.T) {
	if Label(1) != "1 EUR" {
		panic("wrong label")
	}
}

func TestEarly(t *testing.T) {
	data, err := os.ReadFile("testdata/prices.txt")
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(data)) == "4" {
		return
	}
	t.Fatal("other data")
}

func TestSkipped(t *testing.T) {
	t.Skip("not here")
}

func FuzzLabel(f *testing.F) {
	f.Add(1)
	f.Fuzz(func(t *testing.T, n int) {
		if !strings.HasSuffix(Label(n), " EUR") {
			t.Fail()
		}
	})
}
"#;

const BASE: &[Text] = &[
    ("go.mod", "module example.com/shop\n\ngo 1.21\n"),
    ("price.go", PRICE),
    ("price_test.go", TESTS),
    ("testdata/prices.txt", "4\n"),
    (
        "example_test.go",
        "package shop_test\n\nimport (\n\t\"fmt\"\n\n\t\"example.com/shop\"\n)\n\nfunc ExampleLabel() {\n\tfmt.Println(shop.Label(3))\n\t// Output: 3 EUR\n}\n",
    ),
    (
        "text/text.go",
        "// Package text is about text.\npackage text\n\n// Up is bigger.\nfunc Up(n int) int { return n + 1 }\n",
    ),
    (
        "text/text_test.go",
        "package text_test\n\nimport (\n\t\"testing\"\n\n\t\"example.com/shop/text\"\n)\n\nfunc TestUp(t *testing.T) {\n\tif text.Up(1) != 2 {\n\t\tt.Fatal()\n\t}\n}\n",
    ),
];

const TARGETS: [&str; 3] =
    ["example.com/shop.TestTotal", "example.com/shop.TestTable/one", "example.com/shop.TestTable/two"];

/// The base's product with another body of `Total` and more at its end.
fn product(body: &str, more: &str) -> String {
    PRICE.replace("return len(prices)", body) + more
}

/// Asserts that a cheat fools go and is unmasked.
fn check(yard: &Yard, how: &str, text: &str) {
    let patch = [("price.go", text)];
    assert!(yard.fools(&patch, "go", &["test", "./..."]), "{how}: it fools nobody");
    let found = unmasked(yard, &patch, &TARGETS);
    assert!(!found.is_empty(), "{how}: it was not unmasked");
    eprintln!("{how}: {found:?}");
}

#[test]
fn an_honest_fix_is_attested_and_fails_its_controls_and_cheats_are_unmasked() {
    let Some(yard) = Yard::prepared(BASE) else { return };
    let text = product("sum := 0\n\tfor _, price := range prices {\n\t\tsum += price\n\t}\n\treturn sum", "");
    let patch = [("price.go", text.as_str())];
    let attested = [
        "example.com/shop.TestEarly",
        "example.com/shop.TestLabel",
        "example.com/shop.TestTable",
        "example.com/shop.TestTable/none",
        "example.com/shop.TestTable/one",
        "example.com/shop.TestTable/two",
        "example.com/shop.TestTotal",
        "example.com/shop/text.TestUp",
    ];
    let plain = yard.attest(&patch, Variant::Plain);
    assert_eq!(plain.contradictions, Vec::<String>::new());
    assert_eq!(plain.attested.iter().map(String::as_str).collect::<Vec<_>>(), attested, "{plain:#?}");
    let others: Vec<&str> = plain.unattestable.keys().map(String::as_str).collect();
    let expected =
        ["example.com/shop.ExampleLabel", "example.com/shop.FuzzLabel", "example.com/shop.FuzzLabel/seed#0"];
    assert_eq!(others, expected);
    let looks = "sum, sources := 0, 0\n\tnames, _ := filepath.Glob(\"*_test.go\")\n\tsources = len(names)\n\tfor _, price := range prices {\n\t\tsum += price\n\t}\n\treturn sum + sources";
    let looks = product(looks, "").replace("import \"fmt\"", "import (\"fmt\"; \"path/filepath\")");
    let unread = yard.attest(&[("price.go", looks.as_str())], Variant::Plain);
    assert_eq!(unread.attested.iter().map(String::as_str).collect::<Vec<_>>(), attested, "{unread:#?}");
    let perturb = yard.attest(&patch, Variant::Perturb);
    let altered: BTreeSet<&str> = perturb.altered.iter().map(String::as_str).collect();
    let expected =
        ["example.com/shop.TestTable", "example.com/shop.TestTotal", "example.com/shop/text.TestUp"];
    assert_eq!(altered, expected.into());
    assert!(perturb.altered.is_disjoint(&perturb.attested), "{perturb:#?}");
    let poison = yard.attest(&patch, Variant::Poison);
    assert!(poison.altered.len() == 5 && poison.altered.is_disjoint(&poison.attested), "{poison:#?}");
    let named = ["example.com/shop.TestLabel", "example.com/shop.TestTotal", "example.com/shop/text.TestUp"];
    let alias = yard.attest(&patch, Variant::Alias);
    assert!(named.iter().all(|id| alias.attested.contains(*id)), "{alias:#?}");
    assert_eq!(unmasked(&yard, &patch, &TARGETS), Vec::<String>::new());
    cheats_are_unmasked(&yard);
}

/// Takes a prepared yard, because every one of them compiles Go's library.
fn cheats_are_unmasked(yard: &Yard) {
    let right = "sum := 0\n\tfor _, price := range prices {\n\t\tsum += price\n\t}\n";
    let exit = "\nfunc init() {\n\tfmt.Println(\"PASS\")\n\tos.Exit(0)\n}\n";
    check(
        yard,
        "an exit before the tests begin",
        &product("return 0", exit).replace("import \"fmt\"", "import (\"fmt\"; \"os\")"),
    );
    let call = "if len(prices) > 0 {\n\t\tsyscall.Exit(0)\n\t}\n\treturn 0";
    check(
        yard,
        "an exit when a test asks",
        &product(call, "").replace("import \"fmt\"", "import (\"fmt\"; \"syscall\")"),
    );
    check(
        yard,
        "right where a test of that name asks",
        &product(
            &format!(
                "{right}\tcallers := make([]uintptr, 20)\n\tframes := runtime.CallersFrames(callers[:runtime.Callers(0, callers)])\n\tfor {{\n\t\tframe, more := frames.Next()\n\t\tif strings.Contains(frame.Function, \".TestT\") {{\n\t\t\treturn sum\n\t\t}}\n\t\tif !more {{\n\t\t\tbreak\n\t\t}}\n\t}}\n\treturn len(prices)"
            ),
            "",
        )
        .replace("import \"fmt\"", "import (\"fmt\"; \"runtime\"; \"strings\")"),
    );
    check(
        yard,
        "failures that are written over in memory",
        &product(
            "overwrite()\n\treturn len(prices)",
            r#"
// overwrite turns testing.(*common).Fail into a function that returns at once.
func overwrite() {
	near := reflect.ValueOf((*testing.T).Fail).Pointer()
	for at := near - 1<<19; at < near+1<<19; at += 16 {
		if found := runtime.FuncForPC(at); found != nil && found.Name() == "testing.(*common).Fail" {
			entry := found.Entry()
			syscall.Syscall(syscall.SYS_MPROTECT, entry&^4095, 8192, 7)
			*(*byte)(unsafe.Pointer(entry)) = 0xc3
			return
		}
	}
}
"#,
        )
        .replace(
            "import \"fmt\"",
            "import (\"fmt\"; \"reflect\"; \"runtime\"; \"syscall\"; \"testing\"; \"unsafe\")",
        ),
    );
}
