using System.Text.Json;
using System.Text.RegularExpressions;
using VmLab.Core;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.Tests.Scenario;

namespace VmLab.Tests;

public sealed partial class ReportTests
{
    readonly string _folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, "reports");

    [Test]
    public void A_report_has_the_consoles_with_the_guest_time_of_what_they_printed()
    {
        JsonElement machine = DataOf(One(alice =>
        {
            alice.At(1.Milliseconds, () => alice.Prints("one "));
            alice.At(1.Milliseconds + 20.Microseconds, () => alice.Prints("two "));
            alice.At(7.Milliseconds, () => alice.Prints("drei π"));
        }), lab => lab.RunFor(10.Milliseconds)).GetProperty("branches")[0].GetProperty("machines")[0];

        JsonElement console = machine.GetProperty("console");
        Assert.That(console.GetProperty("text").GetString(), Is.EqualTo("one two drei π"));
        Assert.That(Numbers(console.GetProperty("times")), Is.EqualTo(new[] { 10_000, 60_000 }));
        Assert.That(Numbers(console.GetProperty("counts")), Is.EqualTo(new[] { 8, 6 }));
    }

    [Test]
    public void A_report_has_every_event_with_its_kind()
    {
        JsonElement data = DataOf(One(alice => alice.At(4.Milliseconds, () => alice.Stops(Machines.MachineStatus.TripleFault))), async lab =>
        {
            lab.Note("a remark");
            await lab.RunFor(10.Milliseconds);
        });

        string?[] kinds = Strings(data.GetProperty("kinds")), texts = Strings(data.GetProperty("texts"));
        JsonElement events = data.GetProperty("events");
        Assert.That(Numbers(events.GetProperty("kinds")).Select(kind => kinds[kind]), Is.EqualTo(new[] { "PoweredOn", "Note", "Stopped" }));
        Assert.That(Numbers(events.GetProperty("texts")).Select(text => texts[text]),
            Is.EqualTo(new[] { "powered on", "a remark", "triple fault" }));
        Assert.That(Numbers(events.GetProperty("times")), Is.EqualTo(new[] { 0, 0, 40_000 }));
    }

    [Test]
    public void What_a_guest_prints_cannot_end_the_pages_script()
    {
        string page = PageOf(One(alice => alice.At(1.Milliseconds, () => alice.Prints("</script><b>"))), lab => lab.RunFor(5.Milliseconds));

        Assert.That(page, Does.Not.Contain("</script><b>"));
        Assert.That(Regex.Count(page, "</script>"), Is.EqualTo(2));
    }

    [Test]
    public void A_report_asks_nothing_of_any_network() => Assert.That(
        PageOf(One(_ => { }), lab => lab.RunFor(1.Milliseconds)), Does.Not.Contain("://").And.Not.Contain("src=").And.Not.Contain("@import"));

    [Test]
    public void A_broken_invariant_is_the_reports_outcome()
    {
        JsonElement data = DataOf(One(_ => { }), async lab =>
        {
            lab.Always("time is short", () => lab.Now < 10.Milliseconds);
            await Assert.ThatAsync(() => lab.RunFor(20.Milliseconds), Throws.TypeOf<InvariantException>());
        });

        Assert.That(data.GetProperty("outcome").GetProperty("passed").GetBoolean(), Is.False);
        Assert.That(data.GetProperty("outcome").GetProperty("message").GetString(), Does.Contain("no longer so that time is short"));
    }

    [Test]
    public void A_report_of_a_closed_lab_is_the_one_of_the_lab_before()
    {
        string before = "", after = "";
        Pump.Run(async () =>
        {
            Lab lab = await Lab.StartAsync(Chatter());
            await lab.RunFor(30.Milliseconds);
            before = Page(lab);
            await lab.DisposeAsync();
            after = Page(lab);
        }, new LabOptions());

        Assert.That(after, Is.EqualTo(before));
    }

    [Test]
    public void A_restored_lab_reports_a_branch_that_begins_with_its_moment()
    {
        JsonElement branches = default;
        Pump.Run(async () =>
        {
            await using Lab lab = await Lab.StartAsync(Chatter());
            await lab.RunFor(10.Milliseconds);
            using Moment early = await lab.Snapshot("early");
            await lab.RunFor(20.Milliseconds);
            await lab.Restore(early);
            await lab.RunFor(5.Milliseconds);
            branches = Data(Page(lab)).GetProperty("branches");
        }, new LabOptions());

        JsonElement second = branches[1], console = second.GetProperty("machines")[0].GetProperty("console");
        Assert.That(branches.GetArrayLength(), Is.EqualTo(2));
        Assert.That((second.GetProperty("moment").GetString(), second.GetProperty("parent").GetInt32()), Is.EqualTo(("early", 0)));
        Assert.That((second.GetProperty("start").GetInt32(), second.GetProperty("end").GetInt32()), Is.EqualTo((100_000, 150_000)));
        Assert.That(console.GetProperty("from").GetInt32(), Is.Zero);
        Assert.That(console.GetProperty("length").GetInt32(), Is.GreaterThan(10));
    }

    [Test]
    public void Equal_runs_give_equal_reports_on_any_number_of_threads()
    {
        string[] pages = [.. new[] { 1, 2 }.Select(threads => Report(new LabOptions { Threads = threads, ShuffleSeed = (ulong)threads }))];

        Assert.That(pages[1], Is.EqualTo(pages[0]));

        string Report(LabOptions options)
        {
            string page = "";
            Pump.Run(async () =>
            {
                await using Lab lab = await Lab.StartAsync(Chatter().Vm("b", vm => vm.Boot(s_chatter).Memory(3.MiB)));
                using Moment start = await lab.Snapshot("start");
                await lab.RunFor(30.Milliseconds);
                await lab.Restore(start);
                await lab.RunFor(15.Milliseconds);
                page = Page(lab);
            }, options);
            return page;
        }
    }

    [Test]
    public void A_page_that_cannot_be_written_is_refused_with_the_reason() => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(One(_ => { }), null, ScriptedMachine.PowerOn);

        Assert.That(() => lab.Save("/dev/null/reports"), Throws.TypeOf<LabException>().With.Message.Contains("cannot be written to /dev/null"));
    }, new LabOptions());

    static readonly Guest s_chatter = Guest.Program(asm =>
    {
        const ushort Serial = 0x3F8;
        Iced.Intel.Label again = asm.CreateLabel(), spin = asm.CreateLabel();
        asm.Label(ref again);
        asm.rdrand(rax);
        asm.and(eax, 15);
        asm.add(al, (byte)'a');
        asm.mov(dx, Serial);
        asm.@out(dx, al);
        asm.mov(ecx, 100_000);
        asm.Label(ref spin);
        asm.dec(ecx);
        asm.jnz(spin);
        asm.jmp(again);
    });

    static Fleet Chatter() => Fleet.Define("chatter").Seed(3).Vm("a", vm => vm.Boot(s_chatter).Memory(3.MiB));

    JsonElement DataOf(Fleet fleet, Func<Lab, Task> script) => Data(PageOf(fleet, script));

    string PageOf(Fleet fleet, Func<Lab, Task> script)
    {
        string page = "";
        Run(fleet, async lab =>
        {
            await script(lab);
            page = Page(lab);
        });
        return page;
    }

    string Page(Lab lab)
    {
        lab.Save(_folder);
        return File.ReadAllText(Path.Combine(_folder, "report.html"));
    }

    static JsonElement Data(string page) => JsonDocument.Parse(DataElement().Match(page).Groups[1].Value).RootElement;

    /// <summary>As they are written: of times, the differences.</summary>
    static int[] Numbers(JsonElement list) => [.. list.EnumerateArray().Select(item => item.GetInt32())];

    static string?[] Strings(JsonElement list) => [.. list.EnumerateArray().Select(item => item.GetString())];

    [GeneratedRegex("<script type=\"application/json\" id=\"data\">(.*)</script>")]
    private static partial Regex DataElement();
}
