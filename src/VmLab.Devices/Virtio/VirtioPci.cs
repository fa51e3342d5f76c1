using VmLab.Core;

namespace VmLab.Devices.Virtio;

/// <summary>The PCI transport of a virtio device: its registers, its queues' places, its interrupts.</summary>
/// <remarks>
/// One memory range holds the four structures, a page each: common configuration, interrupt status, device
/// configuration, notifications (4 bytes a queue); a second one the MSI-X table. Interrupts go by MSI-X where the driver
/// enabled it, else by INTA. Simplified: non-transitional; no queue reset, no notification data, no administration.
/// Source: VIRTIO 1.2, §2.1 (status), §2.2 (features), §3.1 (initialization), §4.1 (PCI).
/// </remarks>
public sealed class VirtioPci : ISnapshot<VirtioPci.State>
{
    /// <param name="InterruptStatus">What is read, and so cleared, without MSI-X: bit 0 a queue, bit 1 the
    /// configuration.</param>
    [Schema("virtio-pci", version: 1)]
    public readonly record struct State(
        uint DeviceFeatureSelect, uint DriverFeatureSelect, ulong DriverFeatures, DeviceStatus Status, byte Generation,
        ushort QueueSelect, ushort ConfigVector, byte InterruptStatus, Values<VirtqueueState> Queues,
        MsixTable.State Msix);

    /// <summary>How far the driver is with the device. Source: VIRTIO 1.2, §2.1.</summary>
    [Flags]
    public enum DeviceStatus : byte
    {
        None = 0, Acknowledge = 1, Driver = 2, DriverOk = 4, FeaturesOk = 8, NeedsReset = 64, Failed = 128,
    }

    // The structures, by page of the range, and their kinds in the capabilities.
    const ulong PageSize = 0x1000, RangeSize = 4 * PageSize;
    const int CommonPage = 0, InterruptPage = 1, DevicePage = 2, NotifyPage = 3, NotifyMultiplier = 4;
    const byte CommonKind = 1, NotifyKind = 2, InterruptKind = 3, DeviceKind = 4, AccessKind = 5;

    // Common configuration.
    const int DeviceFeatureSelect = 0x00, DeviceFeature = 0x04, DriverFeatureSelect = 0x08, DriverFeature = 0x0C,
              ConfigVector = 0x10, QueueCount = 0x12, Status = 0x14, Generation = 0x15, QueueSelect = 0x16,
              QueueSize = 0x18, QueueVector = 0x1A, QueueEnable = 0x1C, QueueNotifyOffset = 0x1E,
              Descriptors = 0x20, DriverArea = 0x28, DeviceArea = 0x30, CommonSize = 0x38;

    const DeviceStatus Ready = DeviceStatus.FeaturesOk | DeviceStatus.DriverOk;
    const ushort Vendor = 0x1AF4, FirstDeviceId = 0x1040;
    const byte CapabilityId = 0x09, QueueInterrupt = 1, ConfigInterrupt = 2;

    readonly VirtioBoard _board;
    readonly VirtioIdentity _identity;
    readonly VirtioDevice _device;
    readonly VirtqueueState[] _queues;
    readonly MsixTable _msix;
    readonly VirtioAccess _access;
    VirtioRing _ring;
    State _state = new() { ConfigVector = VirtqueueState.NoVector };

    internal VirtioPci(VirtioBoard board, VirtioIdentity identity, VirtioDevice device)
    {
        (_board, _identity, _device) = (board, identity, device);
        _queues = new VirtqueueState[identity.QueueCount];
        Array.Fill(_queues, VirtqueueState.Unused);
        _ring = NewRing();
        Function = new PciFunction(new PciIdentity(
            Vendor, (ushort)(FirstDeviceId + identity.Type), identity.PciClass, Revision: 1, Vendor,
            (ushort)(FirstDeviceId + identity.Type), InterruptPin: 1));
        var range = new Registers(this);
        Function.AddBar(0, new PciMemoryBar(RangeSize, range));
        AddStructure(CommonKind, CommonPage, CommonSize);
        AddStructure(NotifyKind, NotifyPage, NotifyMultiplier * _queues.Length, [NotifyMultiplier, 0, 0, 0]);
        AddStructure(InterruptKind, InterruptPage, 1);
        if (identity.ConfigSize > 0) AddStructure(DeviceKind, DevicePage, identity.ConfigSize);
        _access = new VirtioAccess(Function, AddStructure(AccessKind, 0, 0, new byte[4], VirtioAccess.Writable), range, RangeSize);
        _msix = new MsixTable(Function, bar: 1, _queues.Length + 1, board.SendMessage);
        Function.Written = (offset, width) =>
        {
            _msix.ConfigWritten(offset, width);
            _access.ConfigWritten(offset, width);
        };
        Function.Reading = _access.ConfigReading;
    }

    /// <summary>For a slot of the PCI host.</summary>
    public PciFunction Function { get; }

    /// <summary>How often a driver broke a rule of the rings or of a request, so that the device wants a reset.</summary>
    public ulong Malformed { get; private set; }

    /// <summary>The driver is ready, nothing is broken, and the device may reach memory.</summary>
    internal bool IsLive => (_state.Status & (Ready | DeviceStatus.NeedsReset)) == Ready && Function.IsBusMaster;

    /// <summary>What both sides agreed on.</summary>
    internal ulong Features => _state.DriverFeatures;

    /// <summary>The queues themselves; the device sets when it serves them.</summary>
    internal Span<VirtqueueState> Queues => _queues;

    internal VirtioRing Ring => _ring;

    /// <summary>The driver broke a rule: the device stops, and says that it wants a reset.</summary>
    internal void Break()
    {
        Malformed++;
        for (int i = 0; i < _queues.Length; i++) _queues[i] = _queues[i] with { ServeAt = VirtqueueState.Never };
        bool isDriven = (_state.Status & DeviceStatus.DriverOk) != 0;
        _state = _state with { Status = _state.Status | DeviceStatus.NeedsReset };
        if (isDriven) Interrupt(_state.ConfigVector, ConfigInterrupt);
    }

    internal void InterruptFor(int queue)
    {
        if (!_device.Trouble.TakesInterrupt()) Interrupt(_queues[queue].Vector, QueueInterrupt);
    }

    /// <summary>Tells the driver that the device's configuration has changed.</summary>
    internal void ConfigChanged()
    {
        _state = _state with { Generation = (byte)(_state.Generation + 1) };
        if ((_state.Status & DeviceStatus.DriverOk) != 0) Interrupt(_state.ConfigVector, ConfigInterrupt);
    }

    public State Save() => _state with { Queues = [.. _queues], Msix = _msix.Save() };

    public void Restore(State state)
    {
        state.Queues.Span.CopyTo(_queues);
        _msix.Restore(state.Msix);
        _state = state with { Queues = default, Msix = default };
        _ring = NewRing();
    }

    int AddStructure(
        byte kind, int page, int length, ReadOnlySpan<byte> more = default, ReadOnlySpan<byte> writable = default)
    {
        Span<byte> body = stackalloc byte[18];
        body.Clear();
        body[0] = (byte)(16 + more.Length);
        body[1] = kind;
        BitConverter.TryWriteBytes(body[6..], page * (int)PageSize);
        BitConverter.TryWriteBytes(body[10..], length);
        more.CopyTo(body[14..]);
        return Function.AddCapability(CapabilityId, body[..(14 + more.Length)], writable);
    }

    void Interrupt(ushort vector, byte cause)
    {
        if (_msix.IsEnabled)
        {
            _msix.Signal(vector);
            return;
        }
        _state = _state with { InterruptStatus = (byte)(_state.InterruptStatus | cause) };
        Function.SetInterrupt(true);
    }

    byte TakeInterruptStatus()
    {
        byte status = _state.InterruptStatus;
        _state = _state with { InterruptStatus = 0 };
        Function.SetInterrupt(false);
        return status;
    }

    ulong OfferedFeatures => VirtioFeatures.Offered | _identity.Features;

    bool HasQueue => _state.QueueSelect < _queues.Length;

    VirtqueueState Selected => HasQueue ? _queues[_state.QueueSelect] : default;

    ulong ReadCommon(int offset) => offset switch
    {
        DeviceFeatureSelect => _state.DeviceFeatureSelect,
        DeviceFeature => Half(OfferedFeatures, _state.DeviceFeatureSelect),
        DriverFeatureSelect => _state.DriverFeatureSelect,
        DriverFeature => Half(_state.DriverFeatures, _state.DriverFeatureSelect),
        ConfigVector => _state.ConfigVector,
        QueueCount => (ulong)_queues.Length,
        Status => (ulong)_state.Status,
        Generation => _state.Generation,
        QueueSelect => _state.QueueSelect,
        QueueSize => Selected.Size,
        QueueVector => HasQueue ? Selected.Vector : VirtqueueState.NoVector,
        QueueEnable => Selected.IsEnabled ? 1UL : 0,
        QueueNotifyOffset => HasQueue ? _state.QueueSelect : 0UL,
        Descriptors => Selected.Descriptors,
        Descriptors + 4 => Selected.Descriptors >> 32,
        DriverArea => Selected.Driver,
        DriverArea + 4 => Selected.Driver >> 32,
        DeviceArea => Selected.Device,
        DeviceArea + 4 => Selected.Device >> 32,
        _ => 0,
    };

    void WriteCommon(int offset, ulong value)
    {
        switch (offset)
        {
            case DeviceFeatureSelect: _state = _state with { DeviceFeatureSelect = (uint)value }; break;
            case DriverFeatureSelect: _state = _state with { DriverFeatureSelect = (uint)value }; break;
            case DriverFeature: SetFeatures((uint)value); break;
            case ConfigVector: _state = _state with { ConfigVector = VectorOf(value) }; break;
            case Status: SetStatus((DeviceStatus)value); break;
            case QueueSelect: _state = _state with { QueueSelect = (ushort)value }; break;
            case >= QueueSize and < CommonSize when HasQueue: SetUpQueue(ref _queues[_state.QueueSelect], offset, value); break;
        }
    }

    void SetUpQueue(ref VirtqueueState queue, int offset, ulong value)
    {
        if (offset == QueueVector) queue = queue with { Vector = VectorOf(value) };
        if (queue.IsEnabled) return;
        queue = offset switch
        {
            QueueSize => queue with { Size = (ushort)value },
            Descriptors => queue with { Descriptors = WithLow(queue.Descriptors, value) },
            Descriptors + 4 => queue with { Descriptors = WithHigh(queue.Descriptors, value) },
            DriverArea => queue with { Driver = WithLow(queue.Driver, value) },
            DriverArea + 4 => queue with { Driver = WithHigh(queue.Driver, value) },
            DeviceArea => queue with { Device = WithLow(queue.Device, value) },
            DeviceArea + 4 => queue with { Device = WithHigh(queue.Device, value) },
            _ => queue,
        };
        if (offset != QueueEnable || value != 1) return;
        if (_ring.IsSound(queue)) queue = queue with { IsEnabled = true };
        else Break();
    }

    void SetFeatures(uint value)
    {
        if ((_state.Status & DeviceStatus.FeaturesOk) != 0 || _state.DriverFeatureSelect > 1) return;
        ulong features = _state.DriverFeatureSelect == 0
            ? WithLow(_state.DriverFeatures, value) : WithHigh(_state.DriverFeatures, value);
        _state = _state with { DriverFeatures = features };
        _ring = NewRing();
    }

    void SetStatus(DeviceStatus status)
    {
        if (status == DeviceStatus.None)
        {
            Reset();
            return;
        }
        bool isAcceptable = (Features & ~OfferedFeatures) == 0 && (Features & VirtioFeatures.Version1) != 0;
        if (!isAcceptable) status &= ~DeviceStatus.FeaturesOk;
        _state = _state with { Status = status | _state.Status & DeviceStatus.NeedsReset };
        if (IsLive) _device.Start();
    }

    void Reset()
    {
        Array.Fill(_queues, VirtqueueState.Unused);
        _state = new State { ConfigVector = VirtqueueState.NoVector, Generation = _state.Generation };
        _ring = NewRing();
        Function.SetInterrupt(false);
        _device.Reset();
    }

    void Notify(int queue)
    {
        if (queue < _queues.Length && _queues[queue].IsEnabled && IsLive) _device.Notified(queue);
    }

    // A vector that is not there reads back as none.
    ushort VectorOf(ulong value) => value < (ulong)_msix.Count ? (ushort)value : VirtqueueState.NoVector;

    VirtioRing NewRing()
    {
        bool mayBeIndirect = (Features & VirtioFeatures.IndirectDescriptors) != 0;
        bool hasEventIndex = (Features & VirtioFeatures.EventIndex) != 0;
        return (Features & VirtioFeatures.PackedRing) != 0
            ? new PackedRing(_board.Memory, mayBeIndirect, hasEventIndex)
            : new SplitRing(_board.Memory, mayBeIndirect, hasEventIndex);
    }

    static ulong Half(ulong features, uint select) => select switch
    {
        0 => (uint)features,
        1 => features >> 32,
        _ => 0,
    };

    static ulong WithLow(ulong before, ulong value) => before & 0xFFFF_FFFF_0000_0000 | (uint)value;

    static ulong WithHigh(ulong before, ulong value) => (uint)before | value << 32;

    /// <summary>The memory range with the four structures; drivers access each field whole, 64-bit ones by halves.</summary>
    sealed class Registers(VirtioPci transport) : IMmioDevice
    {
        public ulong Read(ulong offset, int width)
        {
            if (width == 8) return (uint)Read(offset, 4) | Read(offset + 4, 4) << 32;
            int inside = (int)(offset % PageSize);
            return (offset / PageSize) switch
            {
                CommonPage => transport.ReadCommon(inside),
                InterruptPage when inside == 0 => transport.TakeInterruptStatus(),
                DevicePage => ReadConfig(inside, width),
                _ => 0,
            };
        }

        public void Write(ulong offset, int width, ulong value)
        {
            int inside = (int)(offset % PageSize);
            switch (offset / PageSize)
            {
                case CommonPage when width == 8:
                    transport.WriteCommon(inside, (uint)value);
                    transport.WriteCommon(inside + 4, value >> 32);
                    break;
                case CommonPage: transport.WriteCommon(inside, value); break;
                case DevicePage when inside + width <= transport._identity.ConfigSize:
                    transport._device.WriteConfig(inside, width, value);
                    break;
                case NotifyPage: transport.Notify(inside / NotifyMultiplier); break;
            }
        }

        ulong ReadConfig(int offset, int width)
        {
            Span<byte> config = stackalloc byte[transport._identity.ConfigSize];
            config.Clear();
            transport._device.FillConfig(config);
            ulong value = 0;
            for (int i = 0; i < width && offset + i < config.Length; i++) value |= (ulong)config[offset + i] << 8 * i;
            return value;
        }
    }
}
