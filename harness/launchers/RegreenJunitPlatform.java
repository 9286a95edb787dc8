package regreen.repair;

import static org.junit.platform.engine.discovery.DiscoverySelectors.selectClass;
import static org.junit.platform.engine.discovery.DiscoverySelectors.selectMethod;

import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.platform.engine.DiscoverySelector;
import org.junit.platform.engine.TestExecutionResult;
import org.junit.platform.launcher.Launcher;
import org.junit.platform.launcher.TestExecutionListener;
import org.junit.platform.launcher.TestIdentifier;
import org.junit.platform.launcher.core.LauncherDiscoveryRequestBuilder;
import org.junit.platform.launcher.core.LauncherFactory;

/** Runs tests with the JUnit Platform: Jupiter, Vintage and whatever else is on the class path. */
public final class RegreenJunitPlatform implements RegreenRepairTests {
    private final Launcher launcher = LauncherFactory.create();

    @Override
    public Boolean run(ClassLoader loader, String className, String name) throws Exception {
        Class<?> test = loader.loadClass(className);
        Recorder recorder = new Recorder();
        launcher.execute(LauncherDiscoveryRequestBuilder.request().selectors(selectors(test, name)).build(), recorder);
        if (recorder.broken) {
            return false;
        }
        List<Boolean> named = recorder.byName.getOrDefault(plain(name), recorder.all);
        return named.isEmpty() ? null : (Boolean) !named.contains(false);
    }

    /** The methods that reports call so, or else the class: reports may have names that were given for people. */
    private static List<DiscoverySelector> selectors(Class<?> test, String name) {
        List<DiscoverySelector> found = new ArrayList<>();
        String method = name.split("[({\\[]", 2)[0];
        for (Class<?> type = test; type != null && !name.isEmpty(); type = type.getSuperclass()) {
            for (Method each : type.getDeclaredMethods()) {
                if (each.getName().equals(method)) {
                    found.add(selectMethod(test, each));
                }
            }
        }
        return found.isEmpty() ? List.of(selectClass(test)) : found;
    }

    /** What the names that different reports give to one test have in common. */
    private static String plain(String name) {
        return name.replace('{', '(').replace('}', ')').replace("()", "");
    }

    private static final class Recorder implements TestExecutionListener {
        final Map<String, List<Boolean>> byName = new HashMap<>();
        final List<Boolean> all = new ArrayList<>();
        boolean broken;

        @Override
        public void executionFinished(TestIdentifier test, TestExecutionResult result) {
            boolean passed = result.getStatus() == TestExecutionResult.Status.SUCCESSFUL;
            if (!test.isTest()) {
                // A class or a group of tests that fails outside of them.
                broken |= result.getStatus() == TestExecutionResult.Status.FAILED;
            } else if (result.getStatus() != TestExecutionResult.Status.ABORTED) {
                all.add(passed);
                byName.computeIfAbsent(plain(test.getLegacyReportingName()), ignored -> new ArrayList<>()).add(passed);
                if (!plain(test.getDisplayName()).equals(plain(test.getLegacyReportingName()))) {
                    byName.computeIfAbsent(plain(test.getDisplayName()), ignored -> new ArrayList<>()).add(passed);
                }
            }
        }
    }
}
