using System.Text;
using Iced.Intel;
using Microsoft.Playwright;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Browser.Tests;

/// <summary>The report's page, opened in Debian's chromium: what it shows, and that it answers.</summary>
public sealed class ReportPageTests
{
    const string Chromium = "/usr/bin/chromium";

    static readonly string s_folder = Path.Combine(TestContext.CurrentContext.WorkDirectory, "pages");

    readonly List<string> _errors = [];
    IPlaywright _playwright = null!;
    IBrowser _browser = null!;
    IPage _page = null!;

    [OneTimeSetUp]
    public async Task OpenBrowser()
    {
        if (!File.Exists(Chromium)) Assert.Ignore($"There is no {Chromium} to open the report in: `apt-get install chromium` brings it.");
        Write("small", Small);
        Write("large", lab =>
        {
            for (int i = 0; i < 100_000; i++) lab.Note($"remark {i}");
            return Task.CompletedTask;
        });
        WriteMoved();
        _playwright = await Playwright.CreateAsync();
        _browser = await _playwright.Chromium.LaunchAsync(new() { ExecutablePath = Chromium, Args = ["--no-sandbox"] });
    }

    [OneTimeTearDown]
    public async Task CloseBrowser()
    {
        if (_browser is not null) await _browser.DisposeAsync();
        _playwright?.Dispose();
    }

    [SetUp]
    public Task OpenSmall() => Open("small");

    [TearDown]
    public async Task Close()
    {
        await _page.CloseAsync();
        Assert.That(_errors, Is.Empty);
    }

    [Test]
    public async Task Its_head_tells_fleet_seed_and_outcome()
    {
        Assert.That(await _page.Locator("h1").TextContentAsync(), Is.EqualTo("pair failed"));
        Assert.That(await _page.Locator("#facts").InnerTextAsync(), Does.Match(@"seed\s+7\s+guest time\s+0\.009000 s"));
        Assert.That(await _page.Locator("#failure").InnerTextAsync(), Is.EqualTo("it went wrong"));
    }

    [Test]
    public async Task Every_machine_has_a_lane_in_every_branch()
    {
        Assert.That(await _page.Locator("#branches .machine").AllInnerTextsAsync(), Is.EqualTo(new[] { "alice", "bob", "alice", "bob" }));
        Assert.That(await _page.Locator("#branches .branch").AllInnerTextsAsync(), Is.EqualTo(new[] { "lab", "1: from “early”" }));
    }

    [Test]
    public async Task Every_event_is_in_its_list() => Assert.That(
        await _page.Locator("#rows span").AllInnerTextsAsync(),
        Is.EqualTo(new[]
        {
            "powered on", "powered on", "snapshot \"early\"", "fault: power cut", "powered off", "twenty", "restored \"early\"", "the end",
        }));

    [Test]
    public async Task Consoles_show_what_was_printed_by_the_cursors_time()
    {
        await Row("snapshot").ClickAsync();
        string early = await Console("alice").InnerTextAsync();
        await Row("twenty").ClickAsync();
        string late = await Console("alice").InnerTextAsync();

        Assert.That(early.TrimEnd(), Is.EqualTo("one"));
        Assert.That(late.TrimEnd(), Is.EqualTo("one\ntwo"));
    }

    [Test]
    public async Task A_restored_branch_begins_with_the_console_of_its_moment()
    {
        await Row("restored").ClickAsync();

        Assert.That((await Console("alice").InnerTextAsync()).TrimEnd(), Is.EqualTo("one"));
        Assert.That(await _page.Locator("#now").InnerTextAsync(), Is.EqualTo("0.005000 s, branch 1"));
    }

    [Test]
    public async Task A_machine_without_power_is_off()
    {
        await Row("twenty").ClickAsync();

        Assert.That(await _page.Locator("[data-machine=bob] small").InnerTextAsync(), Is.EqualTo("off"));
    }

    [Test]
    public async Task A_fault_is_marked_in_the_lanes_until_faults_are_hidden()
    {
        int shown = await CountPixels("fault");
        await _page.Locator("[data-family=Faults]").ClickAsync();
        int hidden = await CountPixels("fault");

        Assert.That(shown, Is.GreaterThan(10));
        Assert.That(hidden, Is.Zero);
    }

    [Test]
    public async Task Words_filter_the_list()
    {
        await _page.Locator("#search").FillAsync("bob power");

        Assert.That(await _page.Locator("#rows span").AllInnerTextsAsync(), Is.EqualTo(new[] { "powered on", "fault: power cut", "powered off" }));
        Assert.That(await _page.Locator("#shown").InnerTextAsync(), Is.EqualTo("3 of 8"));
    }

    [Test]
    public async Task Keys_move_the_cursor_from_event_to_event()
    {
        await Row("fault").ClickAsync();
        await _page.Locator("#lanes").FocusAsync();
        await _page.Keyboard.PressAsync("ArrowRight");
        await _page.Keyboard.PressAsync("ArrowRight");

        Assert.That(await _page.Locator("#rows .chosen span").InnerTextAsync(), Is.EqualTo("twenty"));
        Assert.That(await _page.Locator("#lanes").GetAttributeAsync("aria-valuetext"), Is.EqualTo("0.020000 s, branch 0"));
    }

    [Test]
    public async Task A_click_on_a_lane_moves_the_cursor_there()
    {
        string before = await _page.Locator("#now").InnerTextAsync();

        await _page.Locator("#lanes").ClickAsync(new() { Position = new() { X = 300, Y = 70 } });

        Assert.That(await _page.Locator("#now").InnerTextAsync(), Is.Not.EqualTo(before).And.EndsWith("branch 0"));
    }

    [Test]
    public async Task A_hundred_thousand_events_cost_no_more_rows_than_are_in_sight()
    {
        await _page.CloseAsync();
        await Open("large");
        await _page.Locator("#list").FocusAsync();
        await _page.Keyboard.PressAsync("Home");
        string first = await _page.Locator("#rows .chosen span").InnerTextAsync();
        await _page.Keyboard.PressAsync("End");

        Assert.That(first, Is.Not.EqualTo("remark 99999"));
        Assert.That(await _page.Locator("#rows .chosen span").InnerTextAsync(), Is.EqualTo("remark 99999"));
        Assert.That(await _page.Locator("#rows > div").CountAsync(), Is.LessThan(200));
    }

    [Test]
    public async Task A_migration_is_drawn_round_by_round()
    {
        await _page.CloseAsync();
        await Open("moved");

        Assert.That(await _page.Locator("#migrations figcaption").InnerTextAsync(), Does.StartWith("alice: a → b, PreCopy, Completed"));
        Assert.That(await _page.Locator("#migrations rect").CountAsync(), Is.GreaterThanOrEqualTo(2));
        Assert.That(await _page.Locator("#migrations rect title").First.TextContentAsync(), Does.Contain("pages sent"));
        Assert.That(await Row("runs on b").GetAttributeAsync("data-kind"), Is.EqualTo("Migration"));
    }

    /// <summary>Two machines: one prints a word at 1 ms and one at 11 ms; the other loses its power at 10 ms.</summary>
    static async Task Small(Lab lab)
    {
        lab.Inject(Fault.Power(new VmRef("bob")).Cut().At(10.Milliseconds));
        await lab.RunFor(5.Milliseconds);
        using Moment early = await lab.Snapshot("early");
        await lab.RunFor(15.Milliseconds);
        lab.Note("twenty");
        await lab.Restore(early);
        await lab.RunFor(4.Milliseconds);
        lab.Note("the end");
    }

    static void Write(string name, Func<Lab, Task> script) => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(Fleet.Define("pair").Seed(7)
            .Vm("alice", vm => vm.Boot(Guest.Program(asm => { Wait(asm, 1); Print(asm, "one\n"); Wait(asm, 10); Print(asm, "two\n"); Idle(asm); })).Memory(3.MiB))
            .Vm("bob", vm => vm.Boot(Guest.Program(Idle)).Memory(3.MiB)));
        await script(lab);
        lab.Save(s_folder, RunOutcome.Failed("it went wrong"), name);
    }, new LabOptions());

    static void WriteMoved() => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(Fleet.Define("moved").Host("a", out HostRef a).Host("b", out HostRef b).Wire("wire", out _, a, b)
            .Vm("alice", out VmRef alice, vm => vm.Boot(Guest.Program(asm => { Print(asm, "one\n"); Idle(asm); })).Memory(3.MiB).On(a)));
        await lab.RunFor(1.Milliseconds);
        await lab.Migrate(alice, b, Migration.PreCopy(50.Milliseconds));
        lab.Save(s_folder, RunOutcome.Passed, "moved");
    }, new LabOptions());

    /// <summary>Counts for so many milliseconds: a count a nanosecond, two of them a turn.</summary>
    static void Wait(Assembler asm, int milliseconds)
    {
        Label spin = asm.CreateLabel();
        asm.mov(ecx, milliseconds * 500_000);
        asm.Label(ref spin);
        asm.dec(ecx);
        asm.jnz(spin);
    }

    static void Print(Assembler asm, string text)
    {
        asm.mov(dx, 0x3F8);
        foreach (byte value in Encoding.ASCII.GetBytes(text))
        {
            asm.mov(al, value);
            asm.@out(dx, al);
        }
    }

    static void Idle(Assembler asm)
    {
        Label again = asm.CreateLabel();
        asm.Label(ref again);
        asm.jmp(again);
    }

    async Task Open(string name)
    {
        _errors.Clear();
        _page = await _browser.NewPageAsync();
        _page.PageError += (_, error) => _errors.Add(error);
        _page.Request += (_, request) => { if (!request.Url.StartsWith("file:", StringComparison.Ordinal)) _errors.Add($"asks for {request.Url}"); };
        await _page.GotoAsync(new Uri(Path.Combine(s_folder, $"{name}.html")).AbsoluteUri);
    }

    ILocator Row(string text) => _page.Locator("#rows > div", new() { HasText = text }).First;

    ILocator Console(string machine) => _page.Locator($"[data-machine={machine}] pre");

    /// <summary>How many pixels of the lanes are of exactly one of the page's named colours, once it has drawn.</summary>
    Task<int> CountPixels(string name) => _page.EvaluateAsync<int>("""
        async name => {
          await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
          const wanted = color(name).match(/\w\w/g).map(part => parseInt(part, 16));
          const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          let count = 0;
          for (let i = 0; i < pixels.length; i += 4)
            if (wanted.every((value, channel) => pixels[i + channel] === value)) count++;
          return count;
        }
        """, name);
}
