using Iced.Intel;
using VmLab.Core;
using VmLab.Faults;
using static Iced.Intel.AssemblerRegisters;

namespace VmLab.Tests.Migrating;

/// <summary>Bare-metal guests that say themselves whether their memory is right, and two hosts for them to move between.</summary>
static class Moving
{
    public static readonly VmRef One = new("one");
    public static readonly HostRef A = new("a"), B = new("b");
    public static readonly LinkRef Cable = new("mgmt");

    const int WordsPerPage = 512;
    const ulong Region = 0x40_0000;

    /// <summary>One machine that writes slowly enough to be copied.</summary>
    public static Fleet Calm => Hosts().Vm("one", vm => vm.Boot(Guest.Program(asm => Scribble(asm, pages: 256, pause: 80_000))).Memory(8.MiB).On(A));

    /// <summary>One machine that writes much faster than can be copied.</summary>
    public static Fleet Hasty => Hosts().Vm("one", vm => vm.Boot(Guest.Program(asm => Scribble(asm, pages: 256, pause: 500))).Memory(8.MiB).On(A));

    public static Fleet Hosts(Func<LinkSpec, LinkSpec>? cable = null, ByteSize? room = null) => Fleet.Define("moving").Seed(3)
        .Host("a", out HostRef a).Host("b", out HostRef b, host => host.Memory(room ?? 1.GiB))
        .Wire("mgmt", out _, a, b, link => cable is null ? link.Rate(1.Gbps).Latency(200.Microseconds) : cable(link));

    public static void Run(Fleet fleet, Func<Lab, Vm, Task> script, LabOptions? options = null) => Pump.Run(async () =>
    {
        await using Lab lab = await Lab.StartAsync(fleet);
        await lab.RunFor(20.Milliseconds);
        await script(lab, lab.Machines[0]);
    }, options ?? new LabOptions());

    /// <summary>
    /// Writes random words to random places of so many pages, with a pause between, and keeps their sum. Every 32 words it adds all of them
    /// up again, and prints the alphabet, letter by letter, as long as that is right, and else an exclamation mark.
    /// </summary>
    /// <param name="pages">A power of two.</param>
    /// <param name="pause">Of so many loops of two instructions.</param>
    public static void Scribble(Assembler asm, int pages, int pause)
    {
        Label fill = asm.CreateLabel(), loop = asm.CreateLabel(), again = asm.CreateLabel(), spin = asm.CreateLabel(),
            add = asm.CreateLabel(), print = asm.CreateLabel();
        asm.mov(rsi, 0x9E37_79B9_7F4A_7C15);
        asm.mov(r14, 0x5851_F42D_4C95_7F2D);
        asm.xor(ebx, ebx);
        asm.xor(r12d, r12d);
        asm.mov(edi, (uint)Region);
        asm.mov(ecx, pages * WordsPerPage);
        asm.Label(ref fill);
        Draw();
        asm.mov(__qword_ptr[rdi], rsi);
        asm.add(rbx, rsi);
        asm.add(rdi, 8);
        asm.dec(ecx);
        asm.jnz(fill);

        asm.Label(ref loop);
        asm.mov(r13d, 32);
        asm.Label(ref again);
        Draw();
        asm.mov(rdi, rsi);
        asm.shr(rdi, 33);
        asm.and(edi, pages * WordsPerPage - 1);
        asm.sub(rbx, __qword_ptr[rdi * 8 + (long)Region]);
        asm.mov(__qword_ptr[rdi * 8 + (long)Region], rsi);
        asm.add(rbx, rsi);
        asm.mov(ecx, pause);
        asm.Label(ref spin);
        asm.dec(ecx);
        asm.jnz(spin);
        asm.dec(r13d);
        asm.jnz(again);

        asm.mov(edi, (uint)Region);
        asm.mov(ecx, pages * WordsPerPage);
        asm.xor(eax, eax);
        asm.Label(ref add);
        asm.add(rax, __qword_ptr[rdi]);
        asm.add(rdi, 8);
        asm.dec(ecx);
        asm.jnz(add);
        asm.cmp(rax, rbx);
        asm.mov(eax, '!');
        asm.jne(print);
        asm.lea(eax, __[r12 + 'a']);
        asm.inc(r12d);
        asm.cmp(r12d, 26);
        asm.jne(print);
        asm.xor(r12d, r12d);
        asm.Label(ref print);
        asm.mov(edx, 0x3F8);
        asm.@out(dx, al);
        asm.jmp(loop);

        void Draw()
        {
            asm.imul(rsi, r14);
            asm.add(rsi, 0x1234_5679);
        }
    }

    /// <summary>Runs a machine that has no migration to a time of its own, in nanoseconds, which lab time has too few digits for.</summary>
    public static async Task RunTo(Lab lab, Vm vm, ulong machineTime)
    {
        await lab.RunFor(Lab.Time(machineTime) - lab.Now);
        vm.Powered.Machine.RunUntil(machineTime);
    }

    /// <summary>The guest's memory was right whenever it looked, and what it printed came once and in its order.</summary>
    public static void AssertWhole(Vm vm, int least = 1)
    {
        string text = vm.Console.Text;
        Assert.That(text, Is.EqualTo(string.Concat(text.Select((_, i) => (char)('a' + i % 26)))).And.Length.GreaterThanOrEqualTo(least));
    }

    /// <summary>No frame is held but for what the machines have in their memory.</summary>
    public static void AssertNothingLeaks(Lab lab)
    {
        uint held = 0;
        foreach (Vm vm in lab.Machines)
        {
            GuestMemory ram = vm.Powered.Machine.Pc.Memory.Ram;
            for (ulong page = 0; page < ram.TopPage; page++)
                if (ram.IsRam(page) && ram.FrameOf(page) != 0) held++;
        }
        Assert.That(lab.Pool.FramesInUse, Is.EqualTo(held));
    }

    /// <summary>Any mode, compressed or throttled or not, with 1 to 30 ms of downtime.</summary>
    public static Migration RandomPlan(ref Rng random)
    {
        TimeSpan downtime = (1 + (int)random.NextBelow(30)).Milliseconds;
        Migration how = Pick(ref random, Migration.StopAndCopy(), Migration.PreCopy(downtime), Migration.PostCopy(downtime), Migration.Auto(downtime))
            .Patient(300.Milliseconds);
        if (random.NextBelow(3) == 0) how = how.Compress();
        return random.NextBelow(3) == 0 ? how.Throttle() : how;
    }

    /// <summary>Up to three faults of the cable.</summary>
    /// <param name="lab">Time of the lab.</param>
    /// <param name="slower">By what all times are multiplied.</param>
    public static List<Fault> RandomFaults(ref Rng random, TimeSpan lab, int slower)
    {
        LinkFaults cable = Fault.Link(Cable);
        List<Fault> faults = [];
        for (ulong count = random.NextBelow(4); count > 0; count--)
        {
            double chance = random.NextDouble() / 10;
            TimeSpan from = lab + slower * ((int)random.NextBelow(60)).Milliseconds, some = slower * (1 + (int)random.NextBelow(50)).Milliseconds;
            faults.Add(random.NextBelow(7) switch
            {
                0 => cable.Loss(chance),
                1 => cable.Duplicate(chance),
                2 => cable.Corrupt(chance),
                3 => cable.Reorder(chance, by: 2.Milliseconds),
                4 => cable.Delay(some / (10 * slower)).At(from).For(some),
                5 => cable.Rate(20.Mbps).At(from).For(some),
                _ => cable.Down().At(from).For(random.NextBelow(4) == 0 ? 1.Seconds : some),
            });
        }
        return faults;
    }

    /// <summary>One of them.</summary>
    public static T Pick<T>(ref Rng random, params ReadOnlySpan<T> values) => values[(int)random.NextBelow((ulong)values.Length)];
}
