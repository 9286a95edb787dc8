package regreen.repair;

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Tries candidates, a line of JSON for each: their classes are loaded anew, those of the libraries are kept.
 *
 * <p>`{"file": …, "edits": […], "tests": […], "limit": CPU seconds of each test, "trace": …, "all": go on after a
 * failure}` is answered by `{"how": …, "passed": N, "results": "pf-", "cpu": …, "seconds": …, "statements": […]}`.
 */
final class RegreenRepairWorker {
    /** Exit status of a worker in which a test did not let itself be stopped. */
    static final int STUCK = 3;

    private static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();

    private final RegreenRepairTests framework;
    private final String classPath;
    private final URL[] own;
    private double cpu;

    private RegreenRepairWorker(RegreenRepairTests framework, String own, String classPath) throws Exception {
        this.framework = framework;
        this.classPath = own + File.pathSeparator + classPath;
        List<URL> urls = new ArrayList<>();
        for (String entry : own.split(File.pathSeparator)) {
            urls.add(new File(entry).toURI().toURL());
        }
        this.own = urls.toArray(new URL[0]);
    }

    /** Test framework, class path of what the repository makes, class path of libraries. */
    public static void main(String[] words) throws Exception {
        PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream silent = new PrintStream(OutputStream.nullOutputStream());
        System.setOut(silent);
        System.setErr(silent);
        System.setIn(InputStream.nullInputStream());
        RegreenRepairTests framework = (RegreenRepairTests) Class.forName(words[0]).getDeclaredConstructor().newInstance();
        RegreenRepairWorker worker = new RegreenRepairWorker(framework, words[1], words[2]);
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.println(RegreenRepairJson.write(worker.answer(RegreenRepairJson.readMap(line))));
        }
        System.exit(0);
    }

    private Map<String, Object> answer(Map<String, Object> request) {
        Map<String, Object> answer = new LinkedHashMap<>(Map.of("how", "broken", "passed", 0));
        try {
            Map<String, byte[]> changed = Map.of();
            if (request.containsKey("file")) {
                RegreenRepairSource source = edited((String) request.get("file"), RegreenRepairJson.list(request.get("edits")));
                changed = RegreenRepairSource.compile(List.of(source.instrumented(null)), classPath, new HashSet<>());
            }
            if (changed != null) {
                run(request, changed, answer);
            }
        } catch (Exception failure) {
            answer.put("how", "cold");
        }
        double before = cpu;
        cpu = ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime() / 1e9;
        answer.put("cpu", cpu - before);
        return answer;
    }

    /** The text of a file with edits, whose offsets are bytes. */
    private static RegreenRepairSource edited(String file, List<List<Object>> edits) throws Exception {
        byte[] old = Files.readAllBytes(Path.of(file));
        ByteArrayOutputStream text = new ByteArrayOutputStream();
        int at = 0;
        for (List<Object> edit : edits) {
            text.write(old, at, RegreenRepairJson.integer(edit.get(0)) - at);
            text.write(((String) edit.get(2)).getBytes(StandardCharsets.UTF_8));
            at = RegreenRepairJson.integer(edit.get(1));
        }
        text.write(old, at, old.length - at);
        return new RegreenRepairSource(file, text.toString(StandardCharsets.UTF_8));
    }

    private void run(Map<String, Object> request, Map<String, byte[]> changed, Map<String, Object> answer) throws Exception {
        double limit = (Double) request.get("limit");
        boolean all = request.containsKey("all");
        StringBuilder results = new StringBuilder();
        String how = "passed";
        long began = THREADS.getCurrentThreadCpuTime();
        Arrays.fill(RegreenRepairLines.SEEN, false);
        try (Loader loader = new Loader(own, changed)) {
            Thread.currentThread().setContextClassLoader(loader);
            for (String test : RegreenRepairJson.<String>list(request.get("tests"))) {
                Watch watch = new Watch(Thread.currentThread(), limit);
                Boolean passed = passes(loader, test);
                boolean late = watch.end();
                results.append(late || passed == null ? '-' : passed ? 'p' : 'f');
                if (late || passed == null || !passed) {
                    how = late ? "timeout" : "failed";
                    if (!all) {
                        break;
                    }
                }
            }
        }
        answer.put("how", how);
        answer.put("passed", (int) results.chars().filter(each -> each == 'p').count());
        answer.put("results", results.toString());
        answer.put("seconds", (THREADS.getCurrentThreadCpuTime() - began) / 1e9);
        if (request.containsKey("trace")) {
            List<Integer> statements = new ArrayList<>();
            for (int at = 1; at < RegreenRepairLines.SEEN.length; at++) {
                if (RegreenRepairLines.SEEN[at]) {
                    statements.add(at);
                }
            }
            answer.put("statements", statements);
        }
    }

    private Boolean passes(Loader loader, String test) {
        String[] parts = test.split("#", 2);
        try {
            return framework.run(loader, parts[0], parts.length > 1 ? parts[1] : "");
        } catch (ClassNotFoundException failure) {
            return null;
        } catch (Throwable failure) {
            return false;
        }
    }

    /** Ends what takes too long: by the calls in its code, by an interrupt, with the whole process. */
    private static final class Watch extends Thread {
        /** Wall time is for what waits, and a busy machine makes everything wait. */
        private static final double WALL_FACTOR = 8;

        private final Thread watched;
        private final double limit;
        private boolean over;
        private boolean late;

        Watch(Thread watched, double limit) {
            this.watched = watched;
            this.limit = limit;
            setDaemon(true);
            start();
        }

        /** Whether it took too long. */
        synchronized boolean end() {
            over = true;
            notifyAll();
            Thread.interrupted();
            RegreenRepairLines.stop = false;
            return late;
        }

        @Override
        public synchronized void run() {
            long cpu = THREADS.getThreadCpuTime(watched.getId());
            long wall = System.nanoTime();
            while (!over) {
                double used = (THREADS.getThreadCpuTime(watched.getId()) - cpu) / 1e9;
                double waited = (System.nanoTime() - wall) / 1e9;
                if (used > limit || waited > limit * WALL_FACTOR + 2) {
                    late = true;
                    RegreenRepairLines.stop = true;
                    watched.interrupt();
                }
                if (used > limit + 0.3 || waited > limit * WALL_FACTOR + 4) {
                    Runtime.getRuntime().halt(STUCK);
                }
                try {
                    wait(5);
                } catch (InterruptedException failure) {
                    // Tests may interrupt whatever they find.
                }
            }
        }
    }

    /** Loads what the repository makes: what a candidate changes, then what was built. */
    private static final class Loader extends URLClassLoader {
        private final Map<String, byte[]> changed;

        Loader(URL[] own, Map<String, byte[]> changed) {
            super(own, RegreenRepairWorker.class.getClassLoader());
            this.changed = changed;
        }

        @Override
        protected Class<?> findClass(String name) throws ClassNotFoundException {
            byte[] bytes = changed.get(name);
            return bytes == null ? super.findClass(name) : defineClass(name, bytes, 0, bytes.length);
        }
    }
}
