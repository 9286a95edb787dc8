package regreen.repair;

/** A test framework, as the class path has it. */
public interface RegreenRepairTests {
    /** Whether a test, or all tests of a class, passed; `null` when there is none, or all were skipped. */
    Boolean run(ClassLoader loader, String className, String name) throws Exception;
}
