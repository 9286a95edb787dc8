package regreen.repair;

import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** JSON as maps, lists, strings, doubles, booleans and null: the JDK has none. */
final class RegreenRepairJson {
    private final String text;
    private int at;

    private RegreenRepairJson(String text) {
        this.text = text;
    }

    static Object read(String text) {
        return new RegreenRepairJson(text).value();
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> readMap(String text) {
        return (Map<String, Object>) read(text);
    }

    @SuppressWarnings("unchecked")
    static <T> List<T> list(Object value) {
        return (List<T>) value;
    }

    static int integer(Object value) {
        return ((Double) value).intValue();
    }

    private Object value() {
        char first = next();
        switch (first) {
            case '{':
                Map<String, Object> map = new LinkedHashMap<>();
                while (more('}')) {
                    next();
                    String key = string();
                    next();
                    map.put(key, value());
                }
                return map;
            case '[':
                List<Object> list = new ArrayList<>();
                while (more(']')) {
                    list.add(value());
                }
                return list;
            case '"':
                return string();
            default:
                int start = at - 1;
                while (at < text.length() && ",]} \n".indexOf(text.charAt(at)) < 0) {
                    at++;
                }
                String word = text.substring(start, at);
                if (word.equals("null")) {
                    return null;
                }
                return "tf".indexOf(first) >= 0 ? (Object) word.equals("true") : (Object) Double.valueOf(word);
        }
    }

    /** The next character that is no blank. */
    private char next() {
        while (Character.isWhitespace(text.charAt(at))) {
            at++;
        }
        return text.charAt(at++);
    }

    /** Whether another item stands before the end; passes the comma or the end. */
    private boolean more(char end) {
        char found = next();
        if (found != end && found != ',') {
            at--;
        }
        return found != end;
    }

    /** What follows an opening quote. */
    private String string() {
        StringBuilder found = new StringBuilder();
        for (char c = text.charAt(at++); c != '"'; c = text.charAt(at++)) {
            if (c == '\\') {
                c = text.charAt(at++);
                if (c == 'u') {
                    c = (char) Integer.parseInt(text.substring(at, at + 4), 16);
                    at += 4;
                } else if ("bfnrt".indexOf(c) >= 0) {
                    c = "\b\f\n\r\t".charAt("bfnrt".indexOf(c));
                }
            }
            found.append(c);
        }
        return found.toString();
    }

    static String write(Object value) {
        StringBuilder out = new StringBuilder();
        write(value, out);
        return out.toString();
    }

    private static void write(Object value, StringBuilder out) {
        if (value instanceof Map) {
            String before = "{";
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                out.append(before);
                write(entry.getKey(), out);
                out.append(':');
                write(entry.getValue(), out);
                before = ",";
            }
            out.append(before.equals("{") ? "{}" : "}");
        } else if (value instanceof Collection) {
            String before = "[";
            for (Object item : (Collection<?>) value) {
                out.append(before);
                write(item, out);
                before = ",";
            }
            out.append(before.equals("[") ? "[]" : "]");
        } else if (value instanceof String) {
            out.append('"');
            for (char c : ((String) value).toCharArray()) {
                if (c < ' ' || c == '"' || c == '\\') {
                    out.append(String.format("\\u%04x", (int) c));
                } else {
                    out.append(c);
                }
            }
            out.append('"');
        } else {
            // A whole number stays one.
            boolean whole = value instanceof Double && ((Double) value) % 1 == 0;
            out.append(whole ? (Object) ((Double) value).longValue() : value);
        }
    }
}
