using VmLab.Core;
using VmLab.Devices.Virtio;

namespace VmLab.Devices.Tests.Virtio;

/// <summary>A driver on the workbench: finds the device on its bus, negotiates, fills queues, and takes back.</summary>
/// <remarks>Written from VIRTIO 1.2, not from the device: §3.1.1 (initialization), §4.1.4.3 (registers).</remarks>
sealed class VirtioDriver
{
    public const ulong Indirect = 1UL << 28, EventIndex = 1UL << 29, Version1 = 1UL << 32, Packed = 1UL << 34;
    public const int Common = 0, InterruptStatus = 0x1000, Config = 0x2000, Notify = 0x3000;
    public const int StatusRegister = 0x14, Live = 15, NeedsReset = 64;

    const ulong Bar = 0xC000_0000, MsixBar = 0xC000_4000;
    const int Slot = 3;

    readonly PciHost _host;
    readonly IMmioDevice _window;
    readonly Dictionary<int, DriverQueue> _queues = [];
    ulong _free = 0x4_0000;

    /// <param name="build">Makes the device on the board that it is given.</param>
    public VirtioDriver(Func<VirtioBoard, VirtioDevice> build)
    {
        Device = build(new VirtioBoard(Memory, Clock, (address, data) => Messages.Add((address, data))));
        _host = new PciHost([.. Enumerable.Range(0, 4).Select(_ => new IrqLine())]);
        _host.Add(Slot, 0, Device.Transport.Function);
        _host.AssignResources(Bar, 0xC000, [10, 11, 5, 7]);
        _window = _host.MemoryWindow(Bar);
        WriteConfig(4, 2, 0x0406);                                  // decode memory, be bus master, no INTx line
    }

    public GuestMemory Memory { get; } = new(new FramePool(64.MiB), 1.MiB);
    public VirtualClock Clock { get; } = new();
    public VirtioDevice Device { get; }
    public PciHost Host => _host;
    public List<(ulong Address, uint Data)> Messages { get; } = [];
    public ulong Features { get; private set; }

    public bool IsInterrupting => (ReadConfig(6, 2) & 8) != 0;
    public int Status => (int)Read(Common + StatusRegister, 1);

    public ulong Read(int offset, int width) => _window.Read((ulong)offset, width) & (width == 8 ? ulong.MaxValue : (1UL << 8 * width) - 1);
    public void Write(int offset, int width, ulong value) => _window.Write((ulong)offset, width, value);

    public ulong ReadMsix(int offset, int width) => _window.Read(MsixBar - Bar + (ulong)offset, width);
    public void WriteMsix(int offset, int width, ulong value) => _window.Write(MsixBar - Bar + (ulong)offset, width, value);

    public uint ReadConfig(int offset, int width) => (uint)_host.ConfigWindow.Read((ulong)(Slot << 15 | offset), width);
    public void WriteConfig(int offset, int width, uint value) => _host.ConfigWindow.Write((ulong)(Slot << 15 | offset), width, value);

    /// <summary>Where a capability is, the first of its kind.</summary>
    public int Capability(byte id, byte? kind = null)
    {
        int at = (int)ReadConfig(0x34, 1);
        while (at != 0 && (ReadConfig(at, 1) != id || kind is { } wanted && ReadConfig(at + 3, 1) != wanted))
            at = (int)ReadConfig(at + 1, 1);
        return at;
    }

    /// <summary>Resets the device, and accepts those of the features that it offers.</summary>
    public VirtioDriver Negotiate(ulong wanted)
    {
        Write(StatusRegister, 1, 0);
        Write(StatusRegister, 1, 3);
        Features = 0;
        for (int half = 0; half < 2; half++)
        {
            Write(0, 4, (ulong)half);
            ulong accepted = Read(4, 4) & (uint)((wanted | Version1) >> 32 * half);
            Write(8, 4, (ulong)half);
            Write(0xC, 4, accepted);
            Features |= accepted << 32 * half;
        }
        Write(StatusRegister, 1, 11);
        return this;
    }

    /// <summary>Gives the device a queue.</summary>
    public VirtioDriver WithQueue(int index, ushort size = 8)
    {
        bool isPacked = (Features & Packed) != 0;
        DriverQueue queue = isPacked ? new PackedDriverQueue(this, index, size) : new SplitDriverQueue(this, index, size);
        _queues[index] = queue;
        Write(0x16, 2, (ulong)index);
        Write(0x18, 2, size);
        Write(0x20, 8, queue.Descriptors);
        Write(0x28, 8, queue.Driver);
        Write(0x30, 8, queue.Device);
        Write(0x1C, 2, 1);
        return this;
    }

    public VirtioDriver Ready()
    {
        Write(StatusRegister, 1, Live);
        return this;
    }

    public DriverQueue Queue(int index) => _queues[index];

    public void Kick(int queue) => Write(Notify + 4 * queue, 2, (ulong)queue);

    /// <summary>Adds a chain, tells the device, and waits until it is quiet.</summary>
    /// <returns>Bytes that the device says it has written.</returns>
    public uint Do(int queue, params Piece[] pieces)
    {
        Queue(queue).Add(pieces);
        Kick(queue);
        Settle();
        return Queue(queue).Take()!.Value.Written;
    }

    /// <summary>Lets time pass until the device has nothing more to do.</summary>
    public void Settle()
    {
        for (int i = 0; i < 1000 && Device.NextDeadline != ulong.MaxValue; i++)
        {
            Clock.Now = Math.Max(Clock.Now, Device.NextDeadline);
            Device.Advance();
        }
    }

    /// <summary>Memory for the driver's use, all zeros.</summary>
    public ulong Allocate(int length, ulong alignment = 16)
    {
        ulong at = (_free + alignment - 1) & ~(alignment - 1);
        _free = at + (ulong)length;
        Memory.Write(at, new byte[length]);
        return at;
    }

    public Piece Out(params byte[] bytes)
    {
        ulong address = Allocate(bytes.Length);
        Memory.Write(address, bytes);
        return new Piece(address, (uint)bytes.Length, IsWritable: false);
    }

    public Piece In(int length) => new(Allocate(length), (uint)length, IsWritable: true);

    public byte[] Bytes(Piece piece)
    {
        byte[] bytes = new byte[piece.Length];
        Memory.Read(piece.Address, bytes);
        return bytes;
    }
}

/// <summary>A piece of a chain.</summary>
readonly record struct Piece(ulong Address, uint Length, bool IsWritable);

/// <summary>The driver's side of a virtqueue.</summary>
abstract class DriverQueue(VirtioDriver driver, int index, ushort size)
{
    public abstract ulong Descriptors { get; }
    public abstract ulong Driver { get; }
    public abstract ulong Device { get; }

    public bool UsesTables { get; set; }

    protected GuestMemory Memory => driver.Memory;
    protected VirtioDriver Owner => driver;
    protected ushort Size => size;
    protected int Index => index;

    public abstract ushort Add(params Piece[] pieces);

    /// <summary>Goes on where the device says that it is, whatever happened before.</summary>
    public abstract void Follow(VirtqueueState device);

    /// <summary>The next chain that the device has given back.</summary>
    public abstract (ushort Id, uint Written)? Take();

    protected void Put(ulong address, Piece piece, ushort third, ushort fourth)
    {
        Memory.Write64(address, piece.Address);
        Memory.Write32(address + 8, piece.Length);
        Memory.Write16(address + 12, third);
        Memory.Write16(address + 14, fourth);
    }
}

/// <summary>VIRTIO 1.2, §2.7.</summary>
sealed class SplitDriverQueue(VirtioDriver driver, int index, ushort size) : DriverQueue(driver, index, size)
{
    ushort _next, _added, _taken;

    public override ulong Descriptors { get; } = driver.Allocate(16 * size);
    public override ulong Driver { get; } = driver.Allocate(6 + 2 * size);
    public override ulong Device { get; } = driver.Allocate(6 + 8 * size);

    public override ushort Add(params Piece[] pieces)
    {
        ushort head = (ushort)(_next % Size);
        if (UsesTables)
        {
            ulong table = Owner.Allocate(16 * pieces.Length);
            for (int i = 0; i < pieces.Length; i++)
                Put(table + (ulong)(16 * i), pieces[i], Flags(pieces, i), (ushort)(i + 1));
            Put(Descriptors + 16UL * head, new Piece(table, (uint)(16 * pieces.Length), false), 4, 0);
            _next++;
        }
        else
        {
            for (int i = 0; i < pieces.Length; i++, _next++)
                Put(Descriptors + 16UL * (ulong)(_next % Size), pieces[i], Flags(pieces, i), (ushort)((_next + 1) % Size));
        }
        Memory.Write16(Driver + 4 + 2UL * (ulong)(_added % Size), head);
        Memory.Write16(Driver + 2, ++_added);
        return head;
    }

    public override void Follow(VirtqueueState device) => (_next, _added) = (0, device.Position);

    public override (ushort Id, uint Written)? Take()
    {
        if (Memory.Read16(Device + 2) == _taken) return null;
        ulong entry = Device + 4 + 8UL * (ulong)(_taken++ % Size);
        return ((ushort)Memory.Read32(entry), Memory.Read32(entry + 4));
    }

    static ushort Flags(Piece[] pieces, int i) => (ushort)((i + 1 < pieces.Length ? 1 : 0) | (pieces[i].IsWritable ? 2 : 0));
}

/// <summary>VIRTIO 1.2, §2.8.</summary>
sealed class PackedDriverQueue(VirtioDriver driver, int index, ushort size) : DriverQueue(driver, index, size)
{
    readonly Dictionary<ushort, int> _lengths = [];
    int _next, _taken;
    bool _lap = true, _takenLap = true;
    ushort _id;

    public override ulong Descriptors { get; } = driver.Allocate(16 * size);
    public override ulong Driver { get; } = driver.Allocate(4);
    public override ulong Device { get; } = driver.Allocate(4);

    public override ushort Add(params Piece[] pieces)
    {
        Piece[] own = pieces;
        if (UsesTables)
        {
            ulong table = Owner.Allocate(16 * pieces.Length);
            for (int i = 0; i < pieces.Length; i++)
                Put(table + (ulong)(16 * i), pieces[i], 0, (ushort)(pieces[i].IsWritable ? 2 : 0));
            own = [new Piece(table, (uint)(16 * pieces.Length), false)];
        }
        ushort id = _id++;
        _lengths[id] = own.Length;
        for (int i = 0; i < own.Length; i++)
        {
            int flags = (UsesTables ? 4 : (i + 1 < own.Length ? 1 : 0) | (own[i].IsWritable ? 2 : 0)) | (_lap ? 0x80 : 0x8000);
            Put(Descriptors + 16UL * (ulong)_next, own[i], id, (ushort)flags);
            if (++_next < Size) continue;
            (_next, _lap) = (0, !_lap);
        }
        return id;
    }

    public override void Follow(VirtqueueState device) =>
        (_next, _lap, _id) = (device.Position % Size, device.Lap, 0);

    public override (ushort Id, uint Written)? Take()
    {
        ulong entry = Descriptors + 16UL * (ulong)_taken;
        int flags = Memory.Read16(entry + 14) & 0x8080;
        if (flags != (_takenLap ? 0x8080 : 0)) return null;
        ushort id = Memory.Read16(entry + 12);
        _taken += _lengths[id];
        if (_taken >= Size) (_taken, _takenLap) = (_taken - Size, !_takenLap);
        return (id, Memory.Read32(entry + 8));
    }
}
