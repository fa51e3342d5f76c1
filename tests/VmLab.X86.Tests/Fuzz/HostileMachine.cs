using System.Text;
using VmLab.Core;
using VmLab.X86.Tests.Guests;

namespace VmLab.X86.Tests.Fuzz;

/// <summary>A processor in a random mode, under random tables, among random bytes.</summary>
/// <remarks>
/// All of it follows from the seed. Devices answer with the time, so that a count that slips is seen; interrupts and
/// NMIs come at fixed times.
/// </remarks>
sealed unsafe class HostileMachine : IDisposable, IMmioDevice, IPortDevice
{
    public const ulong RamSize = 0x20_0000, Device = 0xFEC0_0000;

    readonly FramePool _pool = new(8.MiB);
    readonly GuestMemory _memory;
    readonly FakeInterrupts _interrupts = new();
    readonly VirtualClock _clock = new();
    readonly (ulong Time, bool IsNmi, byte Vector)[] _arrivals;
    readonly StateHash _seen = new();
    int _arrived;

    /// <param name="translates">Every block that can be is translated at its second visit.</param>
    public HostileMachine(int seed, bool translates = false)
    {
        var random = new Random(seed);
        _memory = new GuestMemory(_pool, new ByteSize(RamSize));
        var bus = new MemoryBus(_memory);
        var ports = new PortBus();
        bus.Add(Device, 0x1000, this);
        ports.Add(0x60, 8, this);
        Cpu = new Vcpu(new VcpuBoard(bus, ports, new MsrBus(), _interrupts, _clock, Exits), Rng.FromSeed((ulong)seed));
        if (translates) Cpu.UseTranslator(warmth: 2);
        new HostileState(random, _memory).Fill(Cpu);
        _arrivals = [.. Enumerable.Range(0, random.Next(6))
            .Select(_ => ((ulong)random.Next(3000), random.Next(4) == 0, (byte)random.Next(16, 256))).Order()];
    }

    public Vcpu Cpu { get; }
    public ExitCounters Exits { get; } = new();
    public CpuState* State => Cpu.State;

    /// <summary>Runs up to a time, in one go or in slices that the source of randomness chooses.</summary>
    /// <returns>Whether the processor still runs.</returns>
    public bool RunTo(ulong time, Random? slices)
    {
        while (_clock.Now < time)
        {
            while (_arrived < _arrivals.Length && _arrivals[_arrived].Time <= _clock.Now) Arrive(_arrivals[_arrived++]);
            ulong next = _arrived < _arrivals.Length ? ulong.Min(time, _arrivals[_arrived].Time) : time;
            ulong left = next - _clock.Now, before = _clock.Now;
            ulong slice = slices is null ? left : ulong.Min(left, (ulong)slices.Next(1, 20));
            StopReason reason = Cpu.Run(slice);
            ulong used = _clock.Now - before;
            if (used > slice || reason == StopReason.Budget && used != slice)
                Assert.Fail($"{used} counts of {slice}, then {reason}");
            if (reason == StopReason.Shutdown) return false;
            if (reason == StopReason.Halted) _clock.Now = next;
        }
        return true;
    }

    public ulong Hash()
    {
        var hash = new StateHash().Add(_clock.Now).Add(Cpu.Retired).Add(_memory.Hash()).Add(_seen.Value);
        Cpu.AddTo(hash);
        return hash.Value;
    }

    public string Describe()
    {
        CpuState* s = State;
        var text = new StringBuilder($"{_clock.Now} rip {s->Rip:X} flags {Flags.All(s):X} cpl {s->Cpl} ");
        text.Append($"cr0 {s->Cr0:X} cr2 {s->Cr2:X} cr3 {s->Cr3:X} cr4 {s->Cr4:X} efer {s->Efer:X} halted {s->IsHalted}\n");
        for (int i = 0; i < 16; i++) text.Append($"{s->Gpr[i]:X} ");
        for (int i = 0; i < CpuState.SegmentCount; i++)
            text.Append($"\n{s->SegmentSelectors[i]:X4} {s->SegmentBases[i]:X} {s->SegmentLimits[i]:X} {s->SegmentRights[i]:X4}");
        return text.ToString();
    }

    public ulong Read(ulong offset, int width) => Answer(offset);
    public void Write(ulong offset, int width, ulong value) => Note(offset, value);
    public uint Read(int offset, int width) => (uint)Answer((ulong)offset);
    public void Write(int offset, int width, uint value) => Note((ulong)offset, value);

    public void Dispose()
    {
        Cpu.Dispose();
        _memory.Dispose();
        _pool.Dispose();
    }

    void Arrive((ulong Time, bool IsNmi, byte Vector) arrival)
    {
        if (arrival.IsNmi) Cpu.RaiseNmi();
        else _interrupts.Pending.Enqueue(arrival.Vector);
    }

    ulong Answer(ulong offset)
    {
        Note(offset, 0);
        return _clock.Now * 0x9E37_79B9_7F4A_7C15;
    }

    void Note(ulong offset, ulong value) => _seen.Add(_clock.Now).Add(offset).Add(value);
}
