using CsCheck;
using VmLab.Core;
using VmLab.Devices.Virtio;

namespace VmLab.Devices.Tests.Virtio;

/// <summary>A virtio device with its bus and its memory as one device on the bench, whose driver has gone wild.</summary>
static class VirtioBench
{
    /// <summary>Kinds of pokes: 3 reads a register, 4 puts a random descriptor or index into a ring, 5 notifies, 6 adds a
    /// sound chain, 7 writes configuration space, 8 the MSI-X table; 9 is the device's own.</summary>
    const int Kinds = 10, Queues = 2;

    public readonly record struct State<T>(PciHost.State Host, T Device, Values<byte> Ram)
        where T : struct;

    public static Gen<Poke> Pokes(int offsets) => Poke.Wild(Kinds, offsets, 1, 2, 4, 8);

    /// <param name="features">What the driver wants; each bench starts with a live device.</param>
    /// <param name="more">What comes to the device from outside.</param>
    public static Bench<State<T>> Of<T>(
        Func<VirtioBoard, VirtioDevice> build, ulong features, Action<VirtioDevice, Poke>? more = null)
        where T : struct
    {
        var driver = new VirtioDriver(build);
        driver.Negotiate(features);
        int queues = Math.Min(Queues, (int)driver.Read(0x12, 2));
        for (int i = 0; i < queues; i++) driver.WithQueue(i);
        driver.Ready();
        return new(new Whole<T>(driver), driver.Clock, poke => Act(driver, queues, poke, more), () => Outputs(driver));
    }

    /// <summary>Whether a block device, reset and set up anew, flushes as it should.</summary>
    public static bool WorksAfterReset<T>(Bench<State<T>> bench, ulong features)
        where T : struct
    {
        VirtioDriver driver = ((Whole<T>)bench.Device).Driver;
        driver.WriteConfig(4, 2, 0x0406);
        driver.WriteConfig(0x10, 4, 0xC000_0000);
        driver.Negotiate(features).WithQueue(0).Ready();
        Piece status = driver.Out(0xFF) with { IsWritable = true };
        driver.Do(0, driver.Out([4, .. new byte[15]]), status);
        return driver.Bytes(status)[0] == 0;
    }

    static ulong Act(VirtioDriver driver, int queues, Poke poke, Action<VirtioDevice, Poke>? more)
    {
        int index = poke.Offset % queues;
        DriverQueue queue = driver.Queue(index);
        switch (poke.Kind)
        {
            case Poke.Read or 3: return driver.Read(poke.Offset % 0x4000, poke.Width);
            case Poke.Write: driver.Write(poke.Offset % 0x4000, poke.Width, poke.Value); break;
            case 4: Scribble(driver.Memory, queue, poke); break;
            case 5: driver.Kick(index); break;
            case 6:
                queue.Follow(driver.Device.Transport.Save().Queues[index]);
                driver.Memory.Write(0x2_0000, BitConverter.GetBytes(poke.Value));
                queue.Add(new Piece(0x2_0000, 16 + (uint)poke.Offset, false), new Piece(0x3_0000, (uint)poke.Value % 3000, true));
                driver.Kick(index);
                break;
            case 7: driver.WriteConfig(poke.Offset & 0xFC, 4, (uint)poke.Value); break;
            case 8: driver.WriteMsix(poke.Offset & 0x3F8, 8, poke.Value); break;
            default: more?.Invoke(driver.Device, poke); break;
        }
        return 0;
    }

    // Wild, but near enough to sense that many survive the first look.
    static void Scribble(GuestMemory memory, DriverQueue queue, Poke poke)
    {
        ulong area = (poke.Value & 3) switch { 0 => queue.Driver, 1 => queue.Device, _ => queue.Descriptors };
        ulong value = poke.Width switch { 1 => poke.Value & 0x1F_FFFF, 2 => poke.Value & 7, _ => poke.Value };
        memory.Write(area + (ulong)(poke.Offset & 0x3E), BitConverter.GetBytes(value).AsSpan(0, poke.Width));
    }

    static ulong[] Outputs(VirtioDriver driver)
    {
        ulong[] sent = [.. driver.Messages.Select(message => message.Address + message.Data)];
        driver.Messages.Clear();
        return [driver.IsInterrupting ? 1UL : 0, .. sent];
    }

    sealed class Whole<T>(VirtioDriver driver) : ISnapshot<State<T>>, ITimed
        where T : struct
    {
        public VirtioDriver Driver => driver;
        public ulong NextDeadline => driver.Device.NextDeadline;
        public void Advance() => driver.Device.Advance();

        public State<T> Save()
        {
            byte[] ram = new byte[driver.Memory.Size.Bytes];
            driver.Memory.Read(0, ram);
            return new State<T>(driver.Host.Save(), ((ISnapshot<T>)driver.Device).Save(), [.. ram]);
        }

        public void Restore(State<T> state)
        {
            driver.Host.Restore(state.Host);
            ((ISnapshot<T>)driver.Device).Restore(state.Device);
            driver.Memory.Write(0, state.Ram.Span);
        }
    }
}
