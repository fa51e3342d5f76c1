using System.Text;
using Iced.Intel;
using VmLab.Core;
using static Iced.Intel.AssemblerRegisters;
using static VmLab.X86.Tests.Guests.VcpuFixture;

namespace VmLab.X86.Tests.Guests;

/// <summary>
/// However a run is cut, it is the same run: random programs in one go, count by count, in slices, and with every
/// cache dropped, or stopped by
/// breakpoints and watches.
/// </summary>
public sealed unsafe class SlicingTests
{
    const int QuickPrograms = 40, SlowPrograms = 2_000;
    const byte Irq = 0x40;

    public enum Cut { Whole, Single, Slices, DroppedCaches, Hooked }

    [Test]
    public void A_run_does_not_depend_on_how_it_is_cut([Values(Cut.Single, Cut.Slices, Cut.DroppedCaches, Cut.Hooked)] Cut cut) =>
        Compare(cut, 1, QuickPrograms);

    [Test, Explicit("Many programs."), Category("Slow")]
    public void A_run_does_not_depend_on_how_it_is_cut_at_length(
        [Values(Cut.Single, Cut.Slices, Cut.DroppedCaches, Cut.Hooked)] Cut cut) =>
        Compare(cut, 1_000_000, SlowPrograms);

    static void Compare(Cut cut, int firstSeed, int programs)
    {
        int stops = 0;
        for (int seed = firstSeed; seed < firstSeed + programs; seed++)
        {
            using var whole = new Machine(seed);
            using var other = new Machine(seed);
            if (cut == Cut.Hooked) other.Hook();
            var random = new Random(seed);
            ulong time = 0;
            while (time < 3000)
            {
                time += (ulong)random.Next(1, 400);
                whole.RunTo(time, Cut.Whole);
                other.RunTo(time, cut);
                Assert.That(other.Describe(), Is.EqualTo(whole.Describe()), $"program {seed} at {time}");
                if (random.Next(3) == 0)
                {
                    whole.Interrupt();
                    other.Interrupt();
                }
                if (random.Next(6) == 0)
                {
                    byte[] bytes = new byte[random.Next(1, 64)];
                    random.NextBytes(bytes);
                    ulong at = Data + (ulong)random.Next(RandomProgram.DataLength);
                    whole.Pc.Memory.Write(at, bytes);
                    other.Pc.Memory.Write(at, bytes);
                }
            }
            stops += other.Stops;
        }
        Assert.That(stops, cut == Cut.Hooked ? Is.GreaterThan(10 * programs) : Is.Zero, "stops at hooks");
    }

    /// <summary>A processor with a random program, and devices that answer with the time.</summary>
    sealed class Machine : IDisposable, IMmioDevice, IPortDevice
    {
        static readonly ulong[] s_frames = [0x50_0000, 0x51_0000, 0x52_0000];

        readonly StringBuilder _log = new();
        readonly Random _slices;

        public Machine(int seed)
        {
            _slices = new Random(seed);
            var random = new Random(seed);
            ulong entry = Pc.Map(RandomProgram.ChangingPage, s_frames[0], Present | Writable);
            Pc.Map(RandomProgram.Device, RandomProgram.Device, Present | Writable);
            Pc.Map(RandomProgram.AbsentPage - 0x1000, s_frames[1], Present | Writable);
            Pc.Bus.Add(RandomProgram.Device, 0x1000, this);
            Pc.Ports.Add(RandomProgram.Port, 8, this);
            Pc.Ports.Add(0x80, 8, this);
            WriteHandlers();
            // blocks and instructions meet page boundaries anywhere
            ulong start = VcpuFixture.Code + (ulong)random.Next(0x1000);
            Pc.Load(code => new RandomProgram(random, entry, s_frames).Write(code, random.Next(20, 120)), start);
            for (int i = 0; i < 16; i++) Pc.State->Gpr[i] = (ulong)random.NextInt64();
            Pc.State->Gpr[Gpr.Rsp] = StackTop;
            Pc.State->Gpr[15] = Data;
            Pc.State->Rip = start;
            var data = new byte[RandomProgram.DataLength];
            random.NextBytes(data);
            Pc.Memory.Write(Data, data);
            Pc.Cpu.Refresh();
        }

        public VcpuFixture Pc { get; } = new();

        public void Interrupt() => Pc.Interrupts.Pending.Enqueue(Irq);

        /// <summary>Breaks at most instructions, and watches some of what the program touches.</summary>
        public void Hook()
        {
            for (ulong i = 0; i < 200; i++) Pc.Cpu.AddBreakpoint(VcpuFixture.Code + 16 * i + (ulong)_slices.Next(16));
            for (ulong i = 0; i < 64; i++) Pc.Cpu.AddBreakpoint(Pc.State->Rip + i);
            foreach (MemoryAccess access in (MemoryAccess[])[MemoryAccess.Read, MemoryAccess.Write, MemoryAccess.Any])
            {
                Pc.Cpu.AddWatch(new Watch(Data + (ulong)_slices.Next(RandomProgram.DataLength), 9, access, IsPhysical: false));
                Pc.Cpu.AddWatch(new Watch(Data + (ulong)_slices.Next(RandomProgram.DataLength), 9, access, IsPhysical: true));
                Pc.Cpu.AddWatch(new Watch(StackTop - 200 + (ulong)_slices.Next(200), 3, access, IsPhysical: false));
                Pc.Cpu.AddWatch(new Watch(s_frames[0] + (ulong)_slices.Next(4096), 64, access, IsPhysical: true));
            }
        }

        /// <summary>How often a hook stopped the program.</summary>
        public int Stops { get; private set; }

        public void RunTo(ulong time, Cut cut)
        {
            while (Pc.Clock.Now < time)
            {
                ulong left = time - Pc.Clock.Now;
                ulong slice = cut switch
                {
                    Cut.Whole => left,
                    Cut.Single => 1,
                    _ => ulong.Min(left, (ulong)_slices.Next(1, 30)),
                };
                if (cut == Cut.DroppedCaches && _slices.Next(3) == 0) Pc.Cpu.Refresh();
                ulong before = Pc.Clock.Now;
                StopReason reason = Pc.Cpu.Run(slice);
                ulong used = Pc.Clock.Now - before;
                Assert.That(used, Is.LessThanOrEqualTo(slice), "counts used");
                if (reason is StopReason.Breakpoint or StopReason.Watch) Stops++;
                if (reason == StopReason.Budget) Assert.That(used, Is.EqualTo(slice), "counts used");
                Assert.That(reason, Is.Not.EqualTo(StopReason.Shutdown));
                if (reason == StopReason.Halted) Pc.Clock.Now = time;
            }
        }

        public string Describe()
        {
            CpuState* s = Pc.State;
            var text = new StringBuilder();
            for (int i = 0; i < 16; i++) text.AppendLine($"{i,2}: {s->Gpr[i]:X}");
            text.AppendLine($"rip {s->Rip:X} flags {Flags.All(s):X} cr2 {s->Cr2:X} shadow {s->InterruptShadow} halted {s->IsHalted}");
            text.AppendLine($"retired {Pc.Cpu.Retired} waiting {Pc.Interrupts.Pending.Count} memory {Pc.Memory.Hash():X}").Append(_log);
            return text.ToString();
        }

        public ulong Read(ulong offset, int width) => Answer($"read {offset:X}");
        public void Write(ulong offset, int width, ulong value) => Note($"write {offset:X} {value:X}");
        public uint Read(int offset, int width) => (uint)Answer($"in {offset:X}");
        public void Write(int offset, int width, uint value) => Note($"out {offset:X} {value:X}");

        public void Dispose() => Pc.Dispose();

        ulong Answer(string what)
        {
            Note(what);
            return Pc.Clock.Now * 0x9E37_79B9_7F4A_7C15;
        }

        void Note(string what) => _log.AppendLine($"{Pc.Clock.Now}: {what}");

        void WriteHandlers()
        {
            const ulong Plain = 0x9000 + 0x800, WithError = 0x9000 + 0x840, OfIrq = 0x9000 + 0x880;
            Pc.Load(code =>
            {
                code.mov(__[rsp], r12);
                code.iretq();
            }, Plain);
            Pc.Load(code =>
            {
                code.add(rsp, 8);
                code.mov(__[rsp], r12);
                code.iretq();
            }, WithError);
            Pc.Load(code =>
            {
                code.inc(__qword_ptr[(long)Data + RandomProgram.DataLength]);
                code.iretq();
            }, OfIrq);
            foreach (byte vector in (byte[])[Vector.DivideError, Vector.InvalidOpcode, 0x90]) Pc.SetGate(vector, Plain);
            foreach (byte vector in (byte[])[Vector.PageFault, Vector.GeneralProtection]) Pc.SetGate(vector, WithError);
            Pc.SetGate(Irq, OfIrq);
        }
    }
}
