using System.Buffers;
using System.Globalization;
using System.Text.Json;

namespace VmLab.Reporting;

/// <summary>A lab's record as JSON, for the report's page.</summary>
/// <remarks>
/// Times are in units of 100 ns; a list of them holds the first and then differences. Nothing of the host is in it, so that equal
/// runs give equal bytes.
/// </remarks>
static class ReportData
{
    /// <param name="outcome">How the run ended; <see langword="null"/> while nobody knows.</param>
    public static byte[] Of(Lab lab, RunOutcome? outcome)
    {
        var bytes = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(bytes))   // its escapes keep the text from ending a script element
        {
            json.WriteStartObject();
            json.WriteString("fleet", lab.Fleet.Name);
            json.WriteString("seed", lab.Seed.ToString(CultureInfo.InvariantCulture));   // may be past what a page's numbers hold
            json.WriteNumber("now", lab.Now.Ticks);
            json.WriteNumber("elapsed", lab.Elapsed.Ticks);
            if (lab.ReplayCommand is { } replay) json.WriteString("replay", replay);
            WriteOutcome(json, outcome);
            WriteMachines(json, lab.Record.Machines);
            WriteNetworks(json, lab.Links);
            WriteMigrations(json, lab.Record.Migrations);
            WriteBranches(json, lab.Record.Branches);
            WriteEvents(json, lab);
            WriteUnfinished(json, lab);
            json.WriteEndObject();
        }
        return bytes.WrittenSpan.ToArray();
    }

    static void WriteOutcome(Utf8JsonWriter json, RunOutcome? outcome)
    {
        if (outcome is null) return;
        json.WriteStartObject("outcome");
        json.WriteBoolean("passed", outcome.IsPassed);
        json.WriteString("message", outcome.Message.ReplaceLineEndings("\n"));
        json.WriteEndObject();
    }

    static void WriteMachines(Utf8JsonWriter json, IReadOnlyList<MachineFacts> machines)
    {
        json.WriteStartArray("machines");
        foreach (MachineFacts machine in machines)
        {
            json.WriteStartObject();
            json.WriteString("name", machine.Name);
            json.WriteString("memory", machine.Memory.ToString());
            json.WriteString("status", machine.Status);
            json.WriteNumber("retired", machine.Retired);
            json.WriteStartArray("exits");
            foreach (var (reason, count) in machine.Exits)
            {
                json.WriteStartArray();
                json.WriteStringValue(MachineFacts.Words(reason.ToString()));
                json.WriteNumberValue(count);
                json.WriteEndArray();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    static void WriteNetworks(Utf8JsonWriter json, IReadOnlyList<Link> links)
    {
        json.WriteStartArray("networks");
        foreach (Link link in links)
        {
            json.WriteStartObject();
            json.WriteString("name", link.Name);
            json.WriteNumber("frames", link.Counters.Frames);
            json.WriteNumber("bytes", link.Counters.Bytes);
            json.WriteNumber("dropped", link.Counters.Dropped);
            json.WriteNumber("lost", link.Counters.Lost);
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    static void WriteMigrations(Utf8JsonWriter json, IReadOnlyList<MigrationReport> migrations)
    {
        json.WriteStartArray("migrations");
        foreach (MigrationReport migration in migrations)
        {
            json.WriteStartObject();
            json.WriteString("machine", migration.Machine);
            json.WriteString("from", migration.From);
            json.WriteString("to", migration.To);
            json.WriteString("mode", migration.Mode.ToString());
            json.WriteString("outcome", migration.Outcome.ToString());
            json.WriteString("reason", migration.Reason);
            json.WriteNumber("total", migration.Total.Ticks);
            json.WriteNumber("downtime", migration.Downtime.Ticks);
            json.WriteStartArray("rounds");
            foreach (MigrationRound round in migration.Rounds)
            {
                json.WriteStartObject();
                json.WriteNumber("start", round.Start.Ticks);
                json.WriteNumber("time", round.Time.Ticks);
                json.WriteNumber("pages", round.Pages);
                json.WriteNumber("dirtied", round.Dirtied);
                json.WriteNumber("throttle", round.Throttle);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    static void WriteBranches(Utf8JsonWriter json, IReadOnlyList<LabBranch> branches)
    {
        json.WriteStartArray("branches");
        for (int i = 0; i < branches.Count; i++)
        {
            LabBranch branch = branches[i];
            json.WriteStartObject();
            json.WriteNumber("number", branch.Number);
            if (branch.Moment is { } moment) json.WriteString("moment", moment);
            if (branch.Parent is { } parent) json.WriteNumber("parent", parent);
            json.WriteNumber("start", Ticks(branch.Start));
            json.WriteNumber("end", Ticks(branch.End));
            json.WriteStartArray("machines");
            for (int machine = 0; machine < branch.Machines.Count; machine++)
            {
                json.WriteStartObject();
                json.WriteString("first", MachineFacts.Words(branch[machine].First.ToString()));
                WriteConsole(json, branches, i, machine);
                WriteLoad(json, branch, branch[machine].Load);
                json.WriteEndObject();
            }
            json.WriteEndArray();
            json.WriteEndObject();
        }
        json.WriteEndArray();
    }

    static void WriteConsole(Utf8JsonWriter json, IReadOnlyList<LabBranch> branches, int number, int machine)
    {
        ConsoleTrack console = branches[number][machine].Console;
        var (before, text, marks) = console.Decode();
        json.WriteStartObject("console");
        int from = FindBeginning(branches, number, machine);
        if (from >= 0) json.WriteNumber("from", branches[from].Number);
        else json.WriteString("before", before);
        json.WriteNumber("length", before.Length);
        if (console.Dropped > 0) json.WriteNumber("dropped", console.Dropped);
        json.WriteString("text", text);
        WriteDifferences(json, "times", marks.Select(mark => Ticks(mark.Time)));
        json.WriteStartArray("counts");
        foreach (ConsoleTrack.Mark mark in marks) json.WriteNumberValue(mark.Count);
        json.WriteEndArray();
        json.WriteEndObject();
    }

    /// <summary>The first branch whose console printed what this one's had printed when it began; -1 for none.</summary>
    static int FindBeginning(IReadOnlyList<LabBranch> branches, int number, int machine)
    {
        ReadOnlySpan<byte> before = branches[number][machine].Console.Before.Span;
        if (before.IsEmpty) return -1;
        for (int i = 0; i < number; i++)
        {
            ConsoleTrack other = branches[i][machine].Console;
            ReadOnlySpan<byte> start = other.Before.Span, rest = other.Bytes;
            if (other.Dropped > 0 || start.Length + rest.Length < before.Length) continue;
            int shared = Math.Min(start.Length, before.Length);
            if (before[..shared].SequenceEqual(start[..shared]) && rest.StartsWith(before[shared..])) return i;
        }
        return -1;
    }

    static void WriteLoad(Utf8JsonWriter json, LabBranch branch, LoadTrack load)
    {
        json.WriteStartObject("load");
        WriteDifferences(json, "ends", load.Pieces.Select(piece => Ticks(piece.End) - Ticks(branch.Start)));
        json.WriteStartArray("percents");
        foreach (LoadTrack.Piece piece in load.Pieces) json.WriteNumberValue((int)Math.Round(100 * piece.Load));
        json.WriteEndArray();
        json.WriteEndObject();
    }

    static void WriteEvents(Utf8JsonWriter json, Lab lab)
    {
        int oldest = lab.Record.Branches[0].Number;
        TimelineEvent[] events = [.. lab.Timeline.Where(happened => happened.Branch >= oldest)];
        string[] names = [.. lab.Record.Machines.Select(machine => machine.Name)];
        string[] texts = [.. events.Select(happened => happened.What).Distinct(StringComparer.Ordinal)];
        var numbers = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (string text in texts) numbers.Add(text, numbers.Count);

        WriteStrings(json, "kinds", Enum.GetNames<EventKind>());
        WriteStrings(json, "texts", texts);
        json.WriteStartObject("events");
        WriteDifferences(json, "times", events.Select(happened => happened.Time.Ticks));
        WriteNumbers(json, "branches", events.Select(happened => happened.Branch));
        WriteNumbers(json, "machines", events.Select(happened => Array.IndexOf(names, happened.Machine)));
        WriteNumbers(json, "kinds", events.Select(happened => (int)happened.Kind));
        WriteNumbers(json, "texts", events.Select(happened => numbers[happened.What]));
        WriteNumbers(json, "tasks", events.Select(happened => (int)happened.Task));
        json.WriteEndObject();
    }

    static void WriteUnfinished(Utf8JsonWriter json, Lab lab)
    {
        WriteStrings(json, "unfired", lab.Unfired.Select(fault => fault.ToString()));
        WriteStrings(json, "unmet", lab.Unmet);
    }

    static void WriteStrings(Utf8JsonWriter json, string name, IEnumerable<string> values)
    {
        json.WriteStartArray(name);
        foreach (string value in values) json.WriteStringValue(value);
        json.WriteEndArray();
    }

    static void WriteNumbers(Utf8JsonWriter json, string name, IEnumerable<int> values)
    {
        json.WriteStartArray(name);
        foreach (int value in values) json.WriteNumberValue(value);
        json.WriteEndArray();
    }

    static void WriteDifferences(Utf8JsonWriter json, string name, IEnumerable<long> values)
    {
        json.WriteStartArray(name);
        long before = 0;
        foreach (long value in values)
        {
            json.WriteNumberValue(value - before);
            before = value;
        }
        json.WriteEndArray();
    }

    static long Ticks(ulong nanoseconds) => (long)(nanoseconds / 100);
}
