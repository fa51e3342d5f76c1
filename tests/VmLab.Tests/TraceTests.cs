using Iced.Intel;
using VmLab.Core;
using VmLab.Tracing;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Tests;

public sealed class TraceTests
{
    static readonly Fleet s_fleet = Fleet.Define("trace")
        .Vm("a", vm => vm.Boot(Guest.Program(Count)).Memory(4.MiB))
        .Vm("b", vm => vm.Boot(Guest.Program(asm => asm.hlt())).Memory(4.MiB));

    /// <summary>Counts in ECX, in memory and on a port for ever.</summary>
    static void Count(Assembler asm)
    {
        Label loop = asm.CreateLabel();
        asm.xor(ecx, ecx);
        asm.Label(ref loop);
        asm.inc(ecx);
        asm.add(__dword_ptr[0x20_0000], ecx);
        asm.@out(0x80, al);
        asm.jmp(loop);
    }

    [Test]
    public void A_line_shows_what_an_instruction_read_changed_and_wrote()
    {
        string[] lines = Trace(options => options with { Limit = 6 });

        Assert.That(lines.Select(Squeezed), Is.EqualTo(new[]
        {
            "0 0 0000000000100000 xor ecx,ecx rflags=46",
            "1 0 0000000000100002 inc ecx rcx=1 rflags=2",
            "2 0 0000000000100004 add [200000h],ecx [200000]=00000000 [200000]<-00000001",
            "3 0 000000000010000b out 80h,al",
            "4 0 000000000010000d jmp short 0000000000100002h",
            "5 0 0000000000100002 inc ecx rcx=2",
        }));
    }

    [Test]
    public void A_trace_goes_from_one_address_to_another_each_time()
    {
        string[] lines = Trace(options => options with { From = "0x10000b", To = "0x100002", Limit = 4 });

        Assert.That(lines.Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries)[0]),
            Is.EqualTo(new[] { "3", "4", "7", "8" }));
    }

    [Test]
    public void Exits_alone_are_shown_on_demand() => Assert.That(
        Trace(options => options with { ExitsOnly = true, Limit = 5 }), Has.Length.EqualTo(5).And.All.Contains("out 80h,al"));

    [Test]
    public void User_code_alone_is_shown_on_demand() =>
        Assert.That(Trace(options => options with { Mode = TraceMode.User }), Is.Empty);

    [Test]
    public void Another_machine_is_traced_on_demand() =>
        Assert.That(Trace(options => options with { Machine = "b" }), Has.Length.EqualTo(1).And.All.Contains("hlt"));

    [Test]
    public void A_trace_does_not_change_the_run()
    {
        var (plain, traced) = (Run(new LabOptions()), Run(new LabOptions { Trace = new TraceOptions(TextWriter.Null) }));

        Assert.That(traced, Is.EqualTo(plain));
    }

    static string[] Trace(Func<TraceOptions, TraceOptions> choose)
    {
        using var output = new StringWriter();
        Run(new LabOptions { Trace = choose(new TraceOptions(output)) });
        return output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    static ulong Run(LabOptions options)
    {
        ulong hash = 0;
        Pump.Run(async () =>
        {
            await using Lab lab = await Lab.StartAsync(s_fleet);
            await lab.RunFor(10.Microseconds);
            hash = lab.StateHash();
        }, options);
        return hash;
    }

    static string Squeezed(string line) => string.Join(' ', line.Split(' ', StringSplitOptions.RemoveEmptyEntries));
}
