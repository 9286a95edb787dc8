package regreen.repair;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Judges many small edits of Java files by their tests, in warm processes; for the embedded repair engine.
 *
 * <p>The repository is built once, by Maven or Gradle, which also tell the class path. Each candidate's file is compiled
 * in memory and loaded in front of what was built. What this says is a proposal and no verdict: whatever passes here is
 * judged again by the ordinary run. Plan and answers are those of `regreen_repair.py`.
 */
final class RegreenRepair {
    private static final double TRACED_SECONDS = 0.6;

    private final Map<String, Object> plan;
    private final Writer out;
    private final long began = System.nanoTime();
    private final RegreenRepairBuild build = new RegreenRepairBuild();

    private RegreenRepair(Map<String, Object> plan, Writer out) throws IOException {
        this.plan = plan;
        this.out = out;
    }

    /** `maven|gradle --launchers FOLDER --plan FILE --out FILE`. */
    public static void main(String[] words) throws Exception {
        Map<String, String> named = new HashMap<>();
        for (int at = 1; at + 1 < words.length; at += 2) {
            named.put(words[at], words[at + 1]);
        }
        Map<String, Object> plan = RegreenRepairJson.readMap(Files.readString(Path.of(named.get("--plan"))));
        try (Writer out = Files.newBufferedWriter(Path.of(named.get("--out")))) {
            RegreenRepair repair = new RegreenRepair(plan, out);
            boolean trace = plan.get("mode").equals("trace");
            List<String> tests = new ArrayList<>(RegreenRepairJson.list(plan.get(trace ? "tests" : "targets")));
            if (tests.isEmpty() || !repair.build.ready(words[0], Path.of(named.get("--launchers")), tests.get(0))) {
                return;
            }
            if (trace) {
                repair.trace(tests);
            } else {
                repair.new Judge(tests).run();
            }
        }
        System.exit(0);
    }

    private double seconds() {
        return (System.nanoTime() - began) / 1e9;
    }

    private synchronized void say(Map<String, Object> record) throws IOException {
        record.put("at", Math.round(seconds() * 1000) / 1000.0);
        out.write(RegreenRepairJson.write(record) + "\n");
        out.flush();
    }

    /** A worker, which is started when it is asked, and again when it has ended. */
    private final class Worker {
        private Process process;
        private Writer requests;
        private BufferedReader replies;

        /** Its answer; one that it ends by is told from how it ended. `warm` is what a new one does first. */
        Map<String, Object> ask(Map<String, Object> request, Map<String, Object> warm) throws IOException, InterruptedException {
            try {
                if (process == null || !process.isAlive()) {
                    process = new ProcessBuilder(build.command)
                        .directory(build.module.toFile())
                        .redirectError(ProcessBuilder.Redirect.DISCARD)
                        .start();
                    requests = new OutputStreamWriter(process.getOutputStream(), StandardCharsets.UTF_8);
                    replies = new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8));
                    if (warm != null) {
                        send(warm);
                    }
                }
                String answer = send(request);
                if (answer != null) {
                    return RegreenRepairJson.readMap(answer);
                }
            } catch (IOException | RuntimeException failure) {
                // It has ended, or says what makes no sense.
            }
            process.destroyForcibly();
            String how = process.waitFor() == RegreenRepairWorker.STUCK ? "timeout" : "failed";
            return new LinkedHashMap<>(Map.of("how", how, "passed", 0.0, "results", "", "cpu", 1.0));
        }

        private String send(Map<String, Object> request) throws IOException {
            requests.write(RegreenRepairJson.write(request) + "\n");
            requests.flush();
            return replies.readLine();
        }

        /** Ends the process and waits for it: who counts CPU time sees that of processes that were waited for. */
        void end() {
            if (process != null) {
                process.destroyForcibly().onExit().join();
            }
        }
    }

    private static Map<String, Object> request(List<String> tests, double limit) {
        return new LinkedHashMap<>(Map.of("tests", tests, "limit", limit));
    }

    private void trace(List<String> tests) throws Exception {
        double end = seconds() + (Double) plan.get("wall");
        Worker worker = new Worker();
        Map<String, Object> warm = request(tests, TRACED_SECONDS);
        warm.put("all", true);
        for (String test : tests) {
            if (seconds() > end) {
                break;
            }
            Map<String, Object> request = request(List.of(test), TRACED_SECONDS);
            request.put("trace", true);
            Map<String, Object> answer = worker.ask(request, warm);
            Map<String, TreeSet<Long>> lines = new TreeMap<>();
            for (Object at : RegreenRepairJson.list(answer.getOrDefault("statements", List.of()))) {
                RegreenRepairSource.Statement statement = build.statements.get(RegreenRepairJson.integer(at) - 1);
                TreeSet<Long> seen = lines.computeIfAbsent(statement.file, file -> new TreeSet<>());
                for (long line = statement.first; line <= statement.last; line++) {
                    seen.add(line);
                }
            }
            Object how = answer.get("how");
            boolean none = how.equals("failed") && answer.getOrDefault("results", "").equals("-");
            Object seconds = answer.getOrDefault("seconds", TRACED_SECONDS);
            Map<String, Object> record = new LinkedHashMap<>(Map.of("id", test, "lines", lines, "seconds", seconds));
            record.put("passed", none ? null : how.equals("passed"));
            say(record);
        }
        worker.end();
    }

    /** Puts candidates before the tests, in order, until enough of them pass or the CPU time is used up. */
    private final class Judge {
        private final List<String> targets;
        private final List<String> guards = new ArrayList<>(RegreenRepairJson.list(plan.get("guards")));
        private final List<Double> limits = RegreenRepairJson.list(plan.get("limits"));
        private final List<Deque<List<Object>>> queues = new ArrayList<>();
        private final List<Worker> workers = new ArrayList<>();
        private final Map<Object, Integer> passed = new HashMap<>();
        private Map<String, Object> warm;
        private double cpu = seconds();
        private double until = Double.MAX_VALUE;
        private int tried;
        private int plausible;
        private int first = -1;

        Judge(List<String> targets) {
            this.targets = targets;
            for (int at = 0; at < limits.size(); at++) {
                queues.add(new ArrayDeque<>());
            }
            for (List<Object> candidate : RegreenRepairJson.<List<Object>>list(plan.get("candidates"))) {
                queues.get(Math.min(level(candidate), limits.size() - 1)).add(candidate);
            }
            for (int at = 0; at < Math.max(1, (Double) plan.get("workers")); at++) {
                workers.add(new Worker());
            }
        }

        private int level(List<Object> candidate) {
            return RegreenRepairJson.integer(candidate.get(3));
        }

        void run() throws Exception {
            boolean fresh = !queues.get(0).isEmpty();
            if (fits()) {
                for (int level = 0; level < limits.size() && !over() && first < 0; level++) {
                    double before = cpu;
                    List<List<Object>> queue = new ArrayList<>(queues.get(level));
                    // What passed some tests before it took too long is worth waiting for.
                    queue.sort((one, other) -> passed.getOrDefault(other.get(0), 0) - passed.getOrDefault(one.get(0), 0));
                    round(new ArrayDeque<>(queue), level);
                    // Slow candidates get a part of what the quick ones took, and the rest when no quick ones are left.
                    until = fresh ? cpu + Math.max(2, (cpu - before) / 2) : Double.MAX_VALUE;
                }
                say(new LinkedHashMap<>(Map.of("end", true, "tried", tried, "cpu", cpu)));
            }
            workers.forEach(Worker::end);
        }

        private boolean over() {
            boolean after = first >= 0 && tried >= first + (Double) plan.get("after");
            boolean spent = cpu >= (Double) plan.get("cpu") || seconds() >= (Double) plan.get("wall");
            return spent || after || plausible >= (Double) plan.get("enough");
        }

        /** Whether tests do on the base what they do in an ordinary run: targets fail, most guards pass. */
        private boolean fits() throws Exception {
            List<String> all = new ArrayList<>(targets);
            all.addAll(guards);
            warm = request(all, limits.get(limits.size() - 1));
            warm.put("all", true);
            String results = (String) workers.get(0).ask(warm, null).getOrDefault("results", "");
            boolean red = !results.substring(0, Math.min(results.length(), targets.size())).matches("p*");
            if (results.length() < all.size() || !red) {
                return false;
            }
            int before = guards.size();
            List<String> kept = new ArrayList<>();
            for (int at = 0; at < guards.size(); at++) {
                if (results.charAt(targets.size() + at) == 'p') {
                    kept.add(guards.get(at));
                }
            }
            guards.retainAll(kept);
            return kept.size() * 4 >= before * 3;
        }

        private void round(Deque<List<Object>> queue, int level) throws Exception {
            List<Thread> threads = new ArrayList<>();
            for (Worker worker : workers) {
                Thread thread = new Thread(() -> {
                    try {
                        for (List<Object> candidate = next(queue); candidate != null; candidate = next(queue)) {
                            judge(worker, candidate, level);
                        }
                    } catch (Exception failure) {
                        // The others go on.
                    }
                });
                thread.start();
                threads.add(thread);
            }
            for (Thread thread : threads) {
                thread.join();
            }
        }

        private synchronized List<Object> next(Deque<List<Object>> queue) {
            return over() || cpu >= until ? null : queue.poll();
        }

        private void judge(Worker worker, List<Object> candidate, int level) throws Exception {
            Map<String, Object> answer = ask(worker, candidate, targets, limits.get(level) + (Double) plan.get("seconds"));
            int passing = RegreenRepairJson.integer(answer.get("passed"));
            double spent = (Double) answer.get("cpu");
            if (answer.get("how").equals("passed") && !guards.isEmpty()) {
                answer = ask(worker, candidate, guards, limits.get(0) * 4 + (Double) plan.get("guard_seconds"));
                spent += (Double) answer.get("cpu");
            }
            finish(candidate, (String) answer.get("how"), passing, level, spent);
        }

        private Map<String, Object> ask(Worker worker, List<Object> candidate, List<String> tests, double limit) throws Exception {
            Map<String, Object> request = request(tests, limit);
            request.put("file", build.tree.resolve((String) candidate.get(1)).toString());
            request.put("edits", candidate.get(2));
            Map<String, Object> answer = worker.ask(request, warm);
            synchronized (this) {
                cpu += (Double) answer.get("cpu");
            }
            return answer;
        }

        private synchronized void finish(List<Object> candidate, String how, int passing, int level, double spent)
                throws IOException {
            tried += level(candidate) == level ? 1 : 0;
            if (how.equals("timeout") && level + 1 < limits.size()) {
                queues.get(level + 1).add(candidate);
                passed.put(candidate.get(0), passing);
            }
            if (how.equals("passed")) {
                plausible++;
                first = first < 0 ? tried : first;
            }
            say(new LinkedHashMap<>(Map.of("n", candidate.get(0), "how", how, "passed", passing, "level", level + 1, "cpu", spent)));
        }
    }
}
