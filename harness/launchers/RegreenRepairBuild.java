package regreen.repair;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * What is needed before tests can be run: Maven or Gradle builds, and tells the class path; the product is compiled once
 * more with calls in it. What came of it is remembered in the home.
 */
final class RegreenRepairBuild {
    private static final int MOST_SOURCES = 2000;
    private static final int SECONDS = 90;
    private static final Pattern CLASS_PATH =
        Pattern.compile("name=\"(?:surefire\\.test|java)\\.class\\.path\" value=\"([^\"]*)\"");

    final Path tree = Path.of("").toRealPath();
    /** What the product's calls tell of, in the workspace that was built. */
    final List<RegreenRepairSource.Statement> statements = new ArrayList<>();
    /** Starts a worker, in the folder of its module. */
    List<String> command;
    Path module;

    private final Path home = Path.of(System.getenv("HOME"));
    private final Path folder = home.resolve(".regreen-repair");

    RegreenRepairBuild() throws IOException {}

    /** Builds and remembers what came of it, or remembers it; whether tests can be run. */
    boolean ready(String tool, Path launchers, String test) throws Exception {
        Path memory = folder.resolve("prepared");
        if (Files.exists(memory)) {
            List<String> lines = Files.readAllLines(memory);
            // A copy of the tree may stand elsewhere, and so may the home.
            String oldTree = lines.get(0);
            String oldHome = lines.get(1);
            lines.replaceAll(line -> line.replace(oldTree, tree.toString()).replace(oldHome, home.toString()));
            module = Path.of(lines.get(2));
            command = lines.subList(3, lines.size());
            return true;
        }
        if (!prepare(tool, launchers, test)) {
            return false;
        }
        List<String> lines = new ArrayList<>(List.of(tree.toString(), home.toString(), module.toString()));
        lines.addAll(command);
        Files.write(memory, lines);
        return true;
    }

    /** Builds, finds the class path of the module that has a test, and instruments the product; whether that came about. */
    private boolean prepare(String tool, Path launchers, String test) throws Exception {
        String className = test.split("#", 2)[0];
        String classFile = className.replace('.', '/') + ".class";
        String classPath = null;
        for (Map.Entry<Path, String> each : classPaths(tool, launchers, className).entrySet()) {
            if (entries(each.getValue()).anyMatch(entry -> Files.exists(entry.resolve(classFile)))) {
                module = each.getKey();
                classPath = each.getValue();
            }
        }
        if (classPath == null) {
            return false;
        }
        Path product = Files.createDirectories(folder.resolve("product"));
        Map<Boolean, List<Path>> parts = entries(classPath).collect(Collectors.partitioningBy(entry -> entry.startsWith(tree)));
        String own = product + File.pathSeparator + joined(parts.get(true));
        String runner = Path.of(RegreenRepairBuild.class.getProtectionDomain().getCodeSource().getLocation().toURI()).toString();
        String libraries = runner + File.pathSeparator + joined(parts.get(false));
        instrument(parts.get(true), classPath + File.pathSeparator + runner, product);
        String framework = classPath.contains("junit-platform-engine") ? "RegreenJunitPlatform" : "RegreenJunit4";
        libraries += File.pathSeparator + launcher(classPath);
        RegreenRepairSource source = new RegreenRepairSource(framework + ".java", Files.readString(launchers.resolve(framework + ".java")));
        if (!write(RegreenRepairSource.compileMost(List.of(source), libraries), Path.of(runner))) {
            return false;
        }
        // Such a process lives for seconds: the first compiler alone is quickest.
        command = List.of(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-ea", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx512m",
            "-Dregreen.statements=" + statements.size(), "-cp", libraries,
            RegreenRepairWorker.class.getName(), "regreen.repair." + framework, own, libraries);
        return true;
    }

    private static Stream<Path> entries(String classPath) {
        return Stream.of(classPath.split(File.pathSeparator)).filter(entry -> !entry.isEmpty()).map(Path::of).filter(Files::exists);
    }

    private static String joined(List<Path> entries) {
        return entries.stream().map(Path::toString).collect(Collectors.joining(File.pathSeparator));
    }

    private static boolean write(Map<String, byte[]> classes, Path folder) throws IOException {
        for (Map.Entry<String, byte[]> each : classes.entrySet()) {
            Path file = folder.resolve(each.getKey().replace('.', '/') + ".class");
            Files.createDirectories(file.getParent());
            Files.write(file, each.getValue());
        }
        return !classes.isEmpty();
    }

    /** Builds; the class path of the tests by module. */
    private Map<Path, String> classPaths(String tool, Path launchers, String className) throws Exception {
        Map<Path, String> found = new LinkedHashMap<>();
        String script = launchers.resolve(tool + ".sh").toString();
        if (tool.equals("gradle")) {
            String init = launchers.resolve("class-path.gradle").toString();
            String said = call("sh", script, "-q", "-I", init, "testClasses", "regreenClassPath");
            Matcher line = Pattern.compile("(?m)^regreen class path\t(.*)\t(.*)$").matcher(said);
            while (line.find()) {
                found.put(Path.of(line.group(1)), line.group(2));
            }
            return found;
        }
        // Surefire's reports have the class path, so that some test has to be run.
        call(
            "sh", script, "test", "-q", "-Dmaven.test.failure.ignore=true", "-DfailIfNoTests=false",
            "-Dsurefire.failIfNoSpecifiedTests=false", "--", className.split("\\$")[0]);
        for (Path report : files(tree, "TEST-.*\\.xml")) {
            Matcher property = CLASS_PATH.matcher(Files.readString(report));
            if (report.getParent().endsWith("target/surefire-reports") && property.find()) {
                found.put(report.getParent().getParent().getParent(), property.group(1).replace("&amp;", "&"));
            }
        }
        return found;
    }

    /** What a command writes, whatever its status. */
    private String call(String... words) throws Exception {
        Path said = folder.resolve("said");
        Process process = new ProcessBuilder(words).redirectErrorStream(true).redirectOutput(said.toFile()).start();
        if (!process.waitFor(SECONDS, TimeUnit.SECONDS)) {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly();
        }
        return new String(Files.readAllBytes(said), StandardCharsets.UTF_8);
    }

    /** Files with such a name, beneath a folder. */
    private static List<Path> files(Path folder, String name) throws IOException {
        if (!Files.isDirectory(folder)) {
            return List.of();
        }
        try (Stream<Path> all = Files.walk(folder)) {
            return all.filter(path -> path.getFileName().toString().matches(name)).filter(Files::isRegularFile).sorted().collect(Collectors.toList());
        }
    }

    /** The launcher of the JUnit Platform, which is not on the class path of tests but where Maven or Gradle take it from. */
    private static String launcher(String classPath) throws IOException {
        Matcher version = Pattern.compile("junit-platform-engine-([0-9.]*[0-9])[^/]*\\.jar").matcher(classPath);
        if (!version.find() || classPath.contains("junit-platform-launcher")) {
            return "";
        }
        List<Path> found = new ArrayList<>();
        for (String place : List.of(".regreen-m2/org/junit/platform", ".regreen-gradle")) {
            found.addAll(files(Path.of(System.getenv("HOME"), place), "junit-platform-launcher-.*\\.jar"));
        }
        String fits = version.group(1) + ".jar";
        found.sort((one, other) -> Boolean.compare(other.toString().endsWith(fits), one.toString().endsWith(fits)));
        return found.isEmpty() ? "" : found.get(0).toString();
    }

    /** Compiles the sources of the classes in `built` once more, with calls that tell which statements are run and end loops. */
    private void instrument(List<Path> built, String classPath, Path product) throws IOException {
        List<RegreenRepairSource> sources = new ArrayList<>();
        for (Path file : files(tree, "[^.]*\\.java")) {
            String shown = tree.relativize(file).toString();
            // Tests are no product, and what stands in hidden folders is no source.
            if (shown.matches("(.*/)?(\\.[^/]*|test|tests|target|build)/.*") || sources.size() == MOST_SOURCES) {
                continue;
            }
            RegreenRepairSource source = new RegreenRepairSource(shown, new String(Files.readAllBytes(file), StandardCharsets.UTF_8));
            String name = source.className().replace('.', '/') + ".class";
            if (built.stream().anyMatch(entry -> Files.exists(entry.resolve(name)))) {
                sources.add(source.instrumented(statements));
            }
        }
        write(RegreenRepairSource.compileMost(sources, classPath), product);
    }
}
