package regreen.repair;

import org.junit.runner.JUnitCore;
import org.junit.runner.Request;
import org.junit.runner.Result;

/** Runs tests with JUnit 4. */
public final class RegreenJunit4 implements RegreenRepairTests {
    @Override
    public Boolean run(ClassLoader loader, String className, String name) throws Exception {
        Class<?> test = loader.loadClass(className);
        Result result = new JUnitCore().run(name.isEmpty() ? Request.aClass(test) : Request.method(test, name));
        // What a filter does not find is told as an error of the filter's.
        boolean none = result.getFailures().stream()
            .anyMatch(failure -> failure.getDescription().getClassName().startsWith("org.junit.runner."));
        if (none || result.wasSuccessful() && result.getRunCount() == result.getIgnoreCount()) {
            return null;
        }
        return result.wasSuccessful();
    }
}
