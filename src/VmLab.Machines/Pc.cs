using System.Collections.Immutable;
using VmLab.Core;
using VmLab.Devices;
using VmLab.Devices.Storage;
using VmLab.Devices.Virtio;

namespace VmLab.Machines;

/// <summary>What the chips of a PC ask of the machine around them.</summary>
/// <param name="ConsoleSent">Takes each byte of the first serial port.</param>
/// <param name="ChannelSent">Takes each byte of the second.</param>
sealed record PcOutlets(Action<byte> ConsoleSent, Action<byte> ChannelSent, Action PowerOff, Action Reset);

/// <summary>The chips of a PC and the wires between them.</summary>
sealed class Pc
{
    readonly ApicBus _apicBus = new();
    readonly Pic8259Pair _pic = new();
    readonly IoApic _ioApic;
    readonly Pit8254 _pit;
    readonly SystemControlPort _systemControl;
    readonly Hpet _hpet;
    readonly CmosRtc _rtc;
    readonly AcpiPm _pm;
    readonly ResetRegister _reset;
    readonly PciHost _pci;
    readonly ReplacedLines _replaced;
    readonly Keyboard8042 _keyboard;
    readonly List<ITimed> _timed = [];
    readonly List<Kept> _kept = [];

    /// <exception cref="LabException">A device cannot be made, or there are too many.</exception>
    public Pc(MemoryBus memory, VirtualClock clock, PcOutlets outlets, ImmutableArray<DeviceSpec> devices, Rng random)
    {
        Clock = clock;
        LocalApic = new LocalApic(0, clock, _apicBus, _pic) { LosesTick = TickLoss.Takes };
        _ioApic = new IoApic(_apicBus);

        // The HPET takes the places of PIT and RTC while it replaces them.
        IrqLine timer = Line(PcLayout.PitInterrupt, PcLayout.PitPin), rtc = Line(PcLayout.RtcInterrupt);
        _replaced = new ReplacedLines(timer, rtc);
        _hpet = new Hpet(clock, timer, rtc, [.. Enumerable.Range(Hpet.FirstRoute, Hpet.RouteCount).Select(Pin)]);
        _pit = new Pit8254(clock, Unless(() => _hpet.ReplacesLegacy, timer));
        _rtc = new CmosRtc(clock, Unless(() => _hpet.ReplacesLegacy, rtc), PcLayout.PowerOnDate);

        _systemControl = new SystemControlPort(clock, _pit);
        _pm = new AcpiPm(clock, Line(PcLayout.SciInterrupt), outlets.PowerOff, PcLayout.SoftOffType);
        _reset = new ResetRegister(_ => outlets.Reset());
        _keyboard = new Keyboard8042(Line(PcLayout.KeyboardInterrupt), outlets.Reset);
        _pci = new PciHost([.. PcLayout.PciInterrupts.Select((input, i) => Line(input, PcLayout.FirstPciPin + i))], _reset);
        Console = new Uart16550(Line(PcLayout.SerialOneInterrupt), outlets.ConsoleSent);
        Channel = new Uart16550(Line(PcLayout.SerialTwoInterrupt), outlets.ChannelSent);

        WirePorts();
        WireMemory(memory);
        WireMsrs();
        Keep();
        var board = new VirtioBoard(memory.Ram, clock, (address, data) => SendMessage(memory.Ram, address, data));
        Virtio = Plug(devices, board, random);
        _pci.AssignResources(PcLayout.PciWindow, PcLayout.PciPorts, [.. PcLayout.PciInterrupts.Select(input => (byte)input)]);
    }

    public VirtualClock Clock { get; }
    public PortBus Ports { get; } = new();
    public MsrBus Msrs { get; } = new();
    public LocalApic LocalApic { get; }
    public TickLoss TickLoss { get; } = new();
    public MachineCheckBanks MachineChecks { get; } = new();
    public Uart16550 Console { get; }
    public Uart16550 Channel { get; }

    /// <summary>What lies behind the devices that the configuration adds.</summary>
    public PcDevices Devices { get; } = new();

    /// <summary>The devices that the configuration adds, in its order.</summary>
    public IReadOnlyList<VirtioDevice> Virtio { get; }

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
    /// <returns>Whether one was.</returns>
    public bool Advance()
    {
        bool hasActed = false;
        foreach (ITimed device in _timed)
        {
            if (device.NextDeadline > Clock.Now) continue;
            device.Advance();
            hasActed = true;
        }
        return hasActed;
    }

    public void AddTo(StateHash hash)
    {
        foreach (Kept device in _kept) device.AddTo(hash);
    }

    /// <summary>The record of each chip, in their fixed order.</summary>
    public IReadOnlyList<ValueType> Save() => [.. _kept.Select(device => device.Save())];

    /// <summary>Restores every chip, then the levels of all lines, without an edge.</summary>
    /// <exception cref="LabException">The records are of a machine with other devices.</exception>
    public void Restore(IReadOnlyList<ValueType> records)
    {
        if (records.Count != _kept.Count || _kept.Where((device, i) => !device.Fits(records[i])).Any())
            throw new LabException("The moment is of a machine with other devices.");
        for (int i = 0; i < _kept.Count; i++) _kept[i].Restore(records[i]);
        foreach (Kept device in _kept) device.RestoreLines();
    }

    /// <summary>A line to both interrupt controllers.</summary>
    IrqLine Line(int input, int? pin = null) => new(high =>
    {
        _pic.SetInput(input, high);
        _ioApic.SetPin(pin ?? input, high);
    });

    /// <summary>A line to the I/O APIC alone.</summary>
    IrqLine Pin(int pin) => new(high => _ioApic.SetPin(pin, high));

    static IrqLine Unless(Func<bool> isCutOff, IrqLine line) => new(high =>
    {
        if (!isCutOff()) line.Set(high);
    });

    void WirePorts()
    {
        Ports.Add(PcLayout.MasterPic, 2, _pic.Master);
        Ports.Add(PcLayout.SlavePic, 2, _pic.Slave);
        Ports.Add(PcLayout.TriggerControl, 2, _pic.TriggerControl);
        Ports.Add(PcLayout.Pit, 4, _pit);
        Ports.Add(PcLayout.SystemControl, 1, _systemControl);
        Ports.Add(PcLayout.Keyboard, 1, _keyboard.DataPort);
        Ports.Add(PcLayout.KeyboardCommand, 1, _keyboard.CommandPort);
        Ports.Add(PcLayout.Cmos, 2, _rtc);
        Ports.Add(PcLayout.SerialOne, 8, Console);
        Ports.Add(PcLayout.SerialTwo, 8, Channel);
        Ports.Add(PcLayout.PmEvent, AcpiPm.PortCount, _pm);
        Ports.Add(PcLayout.PciAddress, 4, _pci.AddressPorts);
        Ports.Add(PcLayout.PciData, 4, _pci.DataPorts);
        Ports.Add(PcLayout.PciPorts, PcLayout.PciPortCount, _pci.PortWindow(PcLayout.PciPorts));
    }

    void WireMemory(MemoryBus memory)
    {
        memory.Add(PcLayout.LocalApic, PcLayout.LocalApicLength, LocalApic);
        memory.Add(PcLayout.IoApic, PcLayout.IoApicLength, _ioApic);
        memory.Add(PcLayout.Hpet, PcLayout.HpetLength, _hpet);
        memory.Add(PcLayout.PciWindow, PcLayout.PciWindowLength, _pci.MemoryWindow(PcLayout.PciWindow));
    }

    void WireMsrs()
    {
        Msrs.Add(LocalApic.ApicBaseMsr, LocalApic.ApicBaseMsr, LocalApic);
        Msrs.Add(LocalApic.TscDeadlineMsr, LocalApic.TscDeadlineMsr, LocalApic);
        Msrs.Add(LocalApic.FirstX2ApicMsr, LocalApic.LastX2ApicMsr, LocalApic);
        Msrs.Add(MachineCheckBanks.FirstGlobalMsr, MachineCheckBanks.LastGlobalMsr, MachineChecks);
        Msrs.Add(MachineCheckBanks.FirstBankMsr, MachineCheckBanks.LastBankMsr, MachineChecks);
    }

    /// <summary>Puts each device into a slot of its own.</summary>
    VirtioDevice[] Plug(ImmutableArray<DeviceSpec> specs, VirtioBoard board, Rng random)
    {
        if (specs.Length > PcLayout.MostDevices)
            throw new LabException($"A machine takes {PcLayout.MostDevices} devices at most; this one has {specs.Length}.");
        VirtioDevice[] devices =
            [.. specs.Select((spec, i) => Build(spec, board, random.Child($"slot {PcLayout.FirstFreeSlot + i}")))];
        for (int i = 0; i < devices.Length; i++)
        {
            _pci.Add(PcLayout.FirstFreeSlot + i, 0, devices[i].Transport.Function);
            Keep(devices[i].Trouble);
        }
        return devices;
    }

    VirtioDevice Build(DeviceSpec spec, VirtioBoard board, Rng random)
    {
        switch (spec)
        {
            case DiskSpec disk:
                (VirtioBlock block, FaultyDrive drive) = Devices.Add(disk, board, random);
                Keep(block);
                Keep(drive);
                return block;
            case NicSpec nic:
                var card = new VirtioNet(board, nic.Address, nic.Rate);
                Keep(card);
                return card;
            case EntropySpec:
                var entropy = new VirtioEntropy(board, random);
                Keep(entropy);
                return entropy;
            case ConsoleSpec:
                var console = new VirtioConsole(board);
                Keep(console);
                return console;
            case BalloonSpec:
                var balloon = new VirtioBalloon(board);
                Keep(balloon);
                return balloon;
            default: throw new LabException($"This PC has no {spec.GetType().Name}.");
        }
    }

    /// <summary>Delivers a device's interrupt message; one to another address is a store like any other.</summary>
    void SendMessage(GuestMemory ram, ulong address, uint data)
    {
        if (address >> 20 == PcLayout.LocalApic >> 20) _apicBus.DeliverMsi(address, data);
        else ram.Write32(address, data);
    }

    /// <summary>
    /// Lists every chip: what it remembers is part of the machine's state, and its deadlines are the machine's.
    /// </summary>
    void Keep()
    {
        Keep(LocalApic);
        Keep(_ioApic);
        Keep(_pic);
        Keep(_pit);
        Keep(_hpet);
        Keep(_rtc);
        Keep(_systemControl);
        Keep(_pm);
        Keep(_reset);
        Keep(_keyboard);
        Keep(_pci);
        Keep(Console);
        Keep(Channel);
        Keep(_replaced);
        Keep(TickLoss);
        Keep(MachineChecks);
    }

    /// <summary>Makes what a part remembers part of the machine's state.</summary>
    public void Keep<TState>(ISnapshot<TState> device)
        where TState : struct
    {
        _kept.Add(new Kept<TState>(device));
        if (device is ITimed timed) _timed.Add(timed);
    }

    /// <summary>The lines that two chips take turns at: their levels follow from who drove them last.</summary>
    sealed class ReplacedLines(IrqLine timer, IrqLine rtc) : ISnapshot<ReplacedLines.State>, IDrivesLines
    {
        [Schema("replaced-lines", version: 1)]
        public readonly record struct State(bool IsTimerHigh, bool IsRtcHigh);

        State _restored;

        public State Save() => new(timer.IsHigh, rtc.IsHigh);

        public void Restore(State state) => _restored = state;

        // After the chips, of which each knows only its own share.
        public void RestoreLines()
        {
            timer.SetSilently(_restored.IsTimerHigh);
            rtc.SetSilently(_restored.IsRtcHigh);
        }
    }

    /// <summary>A chip, whatever its record is.</summary>
    abstract class Kept
    {
        public abstract void AddTo(StateHash hash);
        public abstract ValueType Save();
        public abstract bool Fits(ValueType record);
        public abstract void Restore(ValueType record);
        public abstract void RestoreLines();
    }

    sealed class Kept<TState>(ISnapshot<TState> device) : Kept
        where TState : struct
    {
        public override void AddTo(StateHash hash) => hash.AddRecord(device.Save());
        public override ValueType Save() => device.Save();
        public override bool Fits(ValueType record) => record is TState;
        public override void Restore(ValueType record) => device.Restore((TState)record);
        public override void RestoreLines() => (device as IDrivesLines)?.RestoreLines();
    }
}
