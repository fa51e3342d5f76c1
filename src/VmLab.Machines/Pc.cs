using VmLab.Core;
using VmLab.Devices;

namespace VmLab.Machines;

/// <summary>The chips of a PC and the wires between them.</summary>
sealed class Pc
{
    readonly ApicBus _apicBus = new();
    readonly Pic8259Pair _pic = new();
    readonly IoApic _ioApic;
    readonly Pit8254 _pit;
    readonly SystemControlPort _systemControl;
    readonly List<ITimed> _timed = [];
    readonly List<IDrivesLines> _drivers = [];
    readonly List<Action<StateHash>> _hashes = [];

    public Pc(MemoryBus memory, VirtualClock clock, Action<byte> consoleSent, Action<byte> channelSent)
    {
        Clock = clock;
        LocalApic = new LocalApic(0, clock, _apicBus, _pic);
        _ioApic = new IoApic(_apicBus);
        _pit = new Pit8254(clock, Line(PcLayout.PitInterrupt, PcLayout.PitPin));
        _systemControl = new SystemControlPort(clock, _pit);
        Console = new Uart16550(Line(PcLayout.SerialOneInterrupt), consoleSent);
        Channel = new Uart16550(Line(PcLayout.SerialTwoInterrupt), channelSent);
        WirePorts();
        WireMemory(memory);
        WireMsrs();
        Register(LocalApic, _ioApic, _pit, _systemControl, Console, Channel);
        _hashes.Add(hash => hash.AddRecord(_pic.Save()));
    }

    public VirtualClock Clock { get; }
    public PortBus Ports { get; } = new();
    public MsrBus Msrs { get; } = new();
    public LocalApic LocalApic { get; }
    public Uart16550 Console { get; }
    public Uart16550 Channel { get; }

    /// <summary>Machine time at which the first device wants to act, in nanoseconds.</summary>
    public ulong NextDeadline
    {
        get
        {
            ulong next = ulong.MaxValue;
            foreach (ITimed device in _timed) next = Math.Min(next, device.NextDeadline);
            return next;
        }
    }

    /// <summary>Lets every device act that is due.</summary>
    public void Advance()
    {
        foreach (ITimed device in _timed)
            if (device.NextDeadline <= Clock.Now) device.Advance();
    }

    public void AddTo(StateHash hash)
    {
        foreach (Action<StateHash> add in _hashes) add(hash);
    }

    /// <summary>A line to both interrupt controllers.</summary>
    IrqLine Line(int input, int? pin = null) => new(high =>
    {
        _pic.SetInput(input, high);
        _ioApic.SetPin(pin ?? input, high);
    });

    void WirePorts()
    {
        Ports.Add(PcLayout.MasterPic, 2, _pic.Master);
        Ports.Add(PcLayout.SlavePic, 2, _pic.Slave);
        Ports.Add(PcLayout.TriggerControl, 2, _pic.TriggerControl);
        Ports.Add(PcLayout.Pit, 4, _pit);
        Ports.Add(PcLayout.SystemControl, 1, _systemControl);
        Ports.Add(PcLayout.SerialOne, 8, Console);
        Ports.Add(PcLayout.SerialTwo, 8, Channel);
    }

    void WireMemory(MemoryBus memory)
    {
        memory.Add(PcLayout.LocalApic, PcLayout.LocalApicLength, LocalApic);
        memory.Add(PcLayout.IoApic, PcLayout.IoApicLength, _ioApic);
    }

    void WireMsrs()
    {
        Msrs.Add(LocalApic.ApicBaseMsr, LocalApic.ApicBaseMsr, LocalApic);
        Msrs.Add(LocalApic.TscDeadlineMsr, LocalApic.TscDeadlineMsr, LocalApic);
        Msrs.Add(LocalApic.FirstX2ApicMsr, LocalApic.LastX2ApicMsr, LocalApic);
    }

    void Register(params ReadOnlySpan<object> devices)
    {
        foreach (object device in devices)
        {
            if (device is ITimed timed) _timed.Add(timed);
            if (device is IDrivesLines driver) _drivers.Add(driver);
            _hashes.Add(HashOf(device));
        }
    }

    static Action<StateHash> HashOf(object device) => device switch
    {
        ISnapshot<LocalApic.State> apic => hash => hash.AddRecord(apic.Save()),
        ISnapshot<IoApic.State> apic => hash => hash.AddRecord(apic.Save()),
        ISnapshot<Pit8254.State> pit => hash => hash.AddRecord(pit.Save()),
        ISnapshot<SystemControlPort.State> port => hash => hash.AddRecord(port.Save()),
        ISnapshot<Uart16550.State> uart => hash => hash.AddRecord(uart.Save()),
        _ => throw new NotSupportedException($"{device.GetType().Name} has no state to hash."),
    };
}
