package regreen.repair;

/** What instrumented code calls before each statement: it notes that it is run, and ends what runs too long. */
public final class RegreenRepairLines {
    /** Which statements were run. */
    static final boolean[] SEEN = new boolean[Integer.getInteger("regreen.statements", 0) + 1];

    /** Whether what runs has to end. */
    static volatile boolean stop;

    private RegreenRepairLines() {}

    public static void at(int statement) {
        SEEN[statement] = true;
        if (stop) {
            throw new Stopped();
        }
    }

    /** Is thrown again at the next statement where something catches it. */
    static final class Stopped extends Error {
        private static final long serialVersionUID = 1;

        Stopped() {
            super("it takes too long", null, false, false);
        }
    }
}
