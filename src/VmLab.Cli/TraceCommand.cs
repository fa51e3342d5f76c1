using System.Text;
using VmLab.Tracing;

namespace VmLab.Cli;

/// <summary><c>vmlab trace FILE.csx</c>, and <c>vmlab trace --compare A B</c>.</summary>
static class TraceCommand
{
    const int ContextLines = 5;

    /// <param name="output">Path of a file, or <see langword="null"/> for standard output.</param>
    /// <exception cref="LabException">There is no script, or the file cannot be written.</exception>
    public static int Run(
        string? script, IReadOnlyList<string> arguments, LabOptions options, string? output, Func<TextWriter, TraceOptions> choose)
    {
        if (script is null) throw new LabException("Say what to trace: `vmlab trace FILE.csx`, or `vmlab trace --compare A B`.");
        using TextWriter writer = Open(output);
        return RunCommand.Run(script, arguments, options with { Trace = choose(writer) });
    }

    /// <summary>Shows the first lines that differ, and those before them.</summary>
    public static int Compare(string first, string second, TextWriter output)
    {
        try
        {
            using IEnumerator<string> left = File.ReadLines(first).GetEnumerator(), right = File.ReadLines(second).GetEnumerator();
            var context = new Queue<string>();
            for (long line = 1; ; line++)
            {
                string? a = left.MoveNext() ? left.Current : null, b = right.MoveNext() ? right.Current : null;
                if (a is null && b is null)
                {
                    output.WriteLine($"The traces are the same, {line - 1} lines.");
                    return ExitCode.Passed;
                }
                if (a != b)
                {
                    output.WriteLine($"The traces part at line {line}:");
                    foreach (string same in context) output.WriteLine($"  {same}");
                    output.WriteLine($"< {a ?? "(the end)"}");
                    output.WriteLine($"> {b ?? "(the end)"}");
                    return ExitCode.Failed;
                }
                if (context.Count == ContextLines) context.Dequeue();
                context.Enqueue(a!);
            }
        }
        catch (Exception trouble) when (trouble is IOException or UnauthorizedAccessException)
        {
            throw new LabException($"The traces cannot be read: {trouble.Message}", trouble);
        }
    }

    static TextWriter Open(string? path)
    {
        const int BufferedCharacters = 1 << 16;
        try
        {
            Stream stream = path is null ? Console.OpenStandardOutput() : File.Create(path);
            return new StreamWriter(stream, new UTF8Encoding(false), BufferedCharacters);
        }
        catch (Exception trouble) when (trouble is IOException or UnauthorizedAccessException)
        {
            throw new LabException($"The trace cannot be written to {path}: {trouble.Message}", trouble);
        }
    }
}
