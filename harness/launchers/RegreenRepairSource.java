package regreen.repair;

import com.sun.source.tree.BlockTree;
import com.sun.source.tree.CaseTree;
import com.sun.source.tree.CompilationUnitTree;
import com.sun.source.tree.DoWhileLoopTree;
import com.sun.source.tree.EnhancedForLoopTree;
import com.sun.source.tree.ForLoopTree;
import com.sun.source.tree.IfTree;
import com.sun.source.tree.StatementTree;
import com.sun.source.tree.SwitchTree;
import com.sun.source.tree.SynchronizedTree;
import com.sun.source.tree.Tree;
import com.sun.source.tree.TryTree;
import com.sun.source.tree.WhileLoopTree;
import com.sun.source.util.JavacTask;
import com.sun.source.util.SourcePositions;
import com.sun.source.util.TreeScanner;
import com.sun.source.util.Trees;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.net.URI;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Pattern;
import javax.tools.Diagnostic;
import javax.tools.DiagnosticCollector;
import javax.tools.FileObject;
import javax.tools.ForwardingJavaFileManager;
import javax.tools.JavaCompiler;
import javax.tools.JavaFileManager;
import javax.tools.JavaFileObject;
import javax.tools.SimpleJavaFileObject;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/** A source text: it can be instrumented, and be compiled without a file. */
final class RegreenRepairSource extends SimpleJavaFileObject {
    private static final JavaCompiler COMPILER = ToolProvider.getSystemJavaCompiler();
    private static final StandardJavaFileManager FILES = COMPILER.getStandardFileManager(null, null, null);
    private static final Pattern CONSTRUCTOR = Pattern.compile("(this|super)\\s*\\(");
    private static final String CALL = RegreenRepairLines.class.getName() + ".at(";

    final String file;
    final String text;

    RegreenRepairSource(String file, String text) {
        super(URI.create("source:///" + new File(file).getAbsoluteFile().toURI().getRawPath()), Kind.SOURCE);
        this.file = file;
        this.text = text;
    }

    @Override
    public CharSequence getCharContent(boolean ignored) {
        return text;
    }

    /** The first class of the file, if its name is the file's. */
    String className() {
        String name = new File(file).getName().replaceFirst("\\.java$", "");
        try {
            CompilationUnitTree unit = task().parse().iterator().next();
            return unit.getPackageName() == null ? name : unit.getPackageName() + "." + name;
        } catch (IOException | RuntimeException failure) {
            return name;
        }
    }

    private JavacTask task() {
        return (JavacTask) COMPILER.getTask(null, FILES, new DiagnosticCollector<>(), null, null, List.of(this));
    }

    /**
     * The text with a call before each statement, all on their old lines; adds the lines of each statement to
     * `statements`, or calls with 0 where there is no such list.
     */
    RegreenRepairSource instrumented(List<Statement> statements) {
        try {
            JavacTask task = task();
            CompilationUnitTree unit = task.parse().iterator().next();
            Calls calls = new Calls(unit, Trees.instance(task).getSourcePositions(), statements);
            calls.scan(unit, null);
            return new RegreenRepairSource(file, calls.inserted());
        } catch (IOException | RuntimeException failure) {
            return this;
        }
    }

    /** The lines of a statement; of one with others in it those before the first of them. */
    static final class Statement {
        final String file;
        final long first;
        final long last;

        Statement(String file, long first, long last) {
            this.file = file;
            this.first = first;
            this.last = last;
        }
    }

    private final class Calls extends TreeScanner<Void, Void> {
        private final CompilationUnitTree unit;
        private final SourcePositions positions;
        private final List<Statement> statements;
        private final Map<Integer, String> openings = new HashMap<>();
        private final Map<Integer, String> endings = new HashMap<>();

        Calls(CompilationUnitTree unit, SourcePositions positions, List<Statement> statements) {
            this.unit = unit;
            this.positions = positions;
            this.statements = statements;
        }

        String inserted() {
            StringBuilder out = new StringBuilder();
            for (int at = 0; at <= text.length(); at++) {
                out.append(endings.getOrDefault(at, "")).append(openings.getOrDefault(at, ""));
                if (at < text.length()) {
                    out.append(text.charAt(at));
                }
            }
            return out.toString();
        }

        private int start(Tree tree) {
            return (int) positions.getStartPosition(unit, tree);
        }

        private int end(Tree tree) {
            return (int) positions.getEndPosition(unit, tree);
        }

        private String call(StatementTree statement) {
            if (statements == null) {
                return CALL + "0);";
            }
            int end = Math.max(head(statement), start(statement) + 1);
            statements.add(new Statement(file, line(start(statement)), line(end - 1)));
            return CALL + statements.size() + ");";
        }

        private long line(int at) {
            return unit.getLineMap().getLineNumber(at);
        }

        /** Where the part of a statement ends that has no other statements in it. */
        private int head(StatementTree tree) {
            switch (tree.getKind()) {
                case IF:
                    return start(((IfTree) tree).getThenStatement());
                case FOR_LOOP:
                    return start(((ForLoopTree) tree).getStatement());
                case ENHANCED_FOR_LOOP:
                    return start(((EnhancedForLoopTree) tree).getStatement());
                case WHILE_LOOP:
                    return start(((WhileLoopTree) tree).getStatement());
                case SWITCH:
                    return end(((SwitchTree) tree).getExpression());
                case TRY:
                    return start(((TryTree) tree).getBlock());
                case SYNCHRONIZED:
                    return start(((SynchronizedTree) tree).getBlock());
                case DO_WHILE_LOOP:
                case BLOCK:
                case LABELED_STATEMENT:
                case CLASS:
                    return start(tree) + 1;
                default:
                    return end(tree);
            }
        }

        private void before(List<? extends StatementTree> block) {
            for (StatementTree statement : block) {
                int start = start(statement);
                // Nothing may stand before the call of another constructor.
                boolean first = statement == block.get(0);
                if (start >= 0 && !(first && CONSTRUCTOR.matcher(text).region(start, text.length()).lookingAt())) {
                    openings.put(start, call(statement));
                }
            }
        }

        /** A statement that stands where a block could stand. */
        private void alone(StatementTree statement, boolean loop) {
            if (statement == null || start(statement) < 0 || end(statement) < 0) {
                return;
            }
            if (statement.getKind() != Tree.Kind.BLOCK) {
                openings.put(start(statement), "{" + call(statement));
                endings.merge(end(statement), "}", String::concat);
            } else if (loop && ((BlockTree) statement).getStatements().isEmpty()) {
                openings.put(start(statement) + 1, call(statement));
            }
        }

        @Override
        public Void visitBlock(BlockTree tree, Void nothing) {
            before(tree.getStatements());
            return super.visitBlock(tree, nothing);
        }

        @Override
        public Void visitCase(CaseTree tree, Void nothing) {
            if (tree.getStatements() != null) {
                before(tree.getStatements());
            }
            return super.visitCase(tree, nothing);
        }

        @Override
        public Void visitIf(IfTree tree, Void nothing) {
            alone(tree.getThenStatement(), false);
            alone(tree.getElseStatement(), false);
            return super.visitIf(tree, nothing);
        }

        @Override
        public Void visitForLoop(ForLoopTree tree, Void nothing) {
            alone(tree.getStatement(), true);
            return super.visitForLoop(tree, nothing);
        }

        @Override
        public Void visitEnhancedForLoop(EnhancedForLoopTree tree, Void nothing) {
            alone(tree.getStatement(), true);
            return super.visitEnhancedForLoop(tree, nothing);
        }

        @Override
        public Void visitWhileLoop(WhileLoopTree tree, Void nothing) {
            alone(tree.getStatement(), true);
            return super.visitWhileLoop(tree, nothing);
        }

        @Override
        public Void visitDoWhileLoop(DoWhileLoopTree tree, Void nothing) {
            alone(tree.getStatement(), true);
            return super.visitDoWhileLoop(tree, nothing);
        }
    }

    /** The classes of sources by name, or `null`; files that do not compile are added to `wrong`. */
    static Map<String, byte[]> compile(List<RegreenRepairSource> sources, String classPath, Set<String> wrong) {
        DiagnosticCollector<JavaFileObject> said = new DiagnosticCollector<>();
        // No sources are looked for on the class path.
        List<String> options = List.of(
            "-classpath", classPath, "-sourcepath", "/nowhere", "-implicit:none", "-g", "-parameters", "-nowarn");
        Classes classes = new Classes();
        boolean good = false;
        try {
            good = COMPILER.getTask(null, classes, said, options, null, sources).call();
        } catch (RuntimeException failure) {
            // Some texts are too much for the compiler.
        }
        for (Diagnostic<? extends JavaFileObject> each : said.getDiagnostics()) {
            if (each.getKind() == Diagnostic.Kind.ERROR && each.getSource() instanceof RegreenRepairSource) {
                wrong.add(((RegreenRepairSource) each.getSource()).file);
            }
        }
        return good ? classes.bytes() : null;
    }

    /** The classes of those of the sources that compile together. */
    static Map<String, byte[]> compileMost(List<RegreenRepairSource> sources, String classPath) {
        List<RegreenRepairSource> rest = new ArrayList<>(sources);
        for (int round = 0; round < 4 && !rest.isEmpty(); round++) {
            Set<String> wrong = new HashSet<>();
            Map<String, byte[]> classes = compile(rest, classPath, wrong);
            if (classes != null) {
                return classes;
            }
            rest.removeIf(source -> wrong.contains(source.file));
            if (wrong.isEmpty()) {
                break;
            }
        }
        return Map.of();
    }

    /** Keeps what is compiled in memory. */
    private static final class Classes extends ForwardingJavaFileManager<JavaFileManager> {
        private final Map<String, ByteArrayOutputStream> found = new HashMap<>();

        Classes() {
            super(FILES);
        }

        Map<String, byte[]> bytes() {
            Map<String, byte[]> bytes = new HashMap<>();
            found.forEach((name, stream) -> bytes.put(name, stream.toByteArray()));
            return bytes;
        }

        @Override
        public JavaFileObject getJavaFileForOutput(Location location, String name, JavaFileObject.Kind kind, FileObject sibling) {
            return new SimpleJavaFileObject(URI.create("class:///" + name.replace('.', '/')), kind) {
                @Override
                public OutputStream openOutputStream() {
                    ByteArrayOutputStream stream = new ByteArrayOutputStream();
                    found.put(name, stream);
                    return stream;
                }
            };
        }
    }
}
