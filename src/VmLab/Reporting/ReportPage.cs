using System.Text;

namespace VmLab.Reporting;

/// <summary>The report's page: its parts are the files of the folder Page, put into one.</summary>
static class ReportPage
{
    // In the order in which they need each other.
    static readonly string[] s_scripts = ["record.js", "axis.js", "lanes.js", "events.js", "consoles.js", "migrations.js", "page.js"];

    /// <param name="data">JSON, as <see cref="ReportData"/> writes it.</param>
    public static byte[] Of(byte[] data)
    {
        string page = Part("report.html");
        using var bytes = new MemoryStream();
        int written = 0;
        WriteUpTo("/* style */", Encoding.UTF8.GetBytes(Part("report.css")));
        WriteUpTo("/* data */", data);
        WriteUpTo("/* script */", Encoding.UTF8.GetBytes(string.Join('\n', s_scripts.Select(Part))));
        bytes.Write(Encoding.UTF8.GetBytes(page[written..]));
        return bytes.ToArray();

        void WriteUpTo(string place, ReadOnlySpan<byte> content)
        {
            int at = page.IndexOf(place, written, StringComparison.Ordinal);
            bytes.Write(Encoding.UTF8.GetBytes(page[written..at]));
            bytes.Write(content);
            written = at + place.Length;
        }
    }

    static string Part(string name)
    {
        using Stream part = typeof(ReportPage).Assembly.GetManifestResourceStream($"VmLab.Reporting.Page.{name}")!;
        using var reader = new StreamReader(part, Encoding.UTF8);
        return reader.ReadToEnd().ReplaceLineEndings("\n");
    }
}
