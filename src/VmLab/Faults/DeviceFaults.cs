using System.Globalization;
using VmLab.Core;
using VmLab.Devices.Virtio;
using VmLab.Machines;

namespace VmLab.Faults;

/// <summary>What can go wrong with a virtio device of a machine. A loss of power ends it.</summary>
/// <param name="Device">A disk's name, or <c>nic0</c>, <c>entropy0</c>, <c>console0</c>, <c>balloon0</c>, each counted from 0.</param>
public readonly record struct DeviceFaults(string Machine, string Device)
{
    /// <summary>Interrupts of the device's queues get lost.</summary>
    /// <param name="count">How many.</param>
    public Fault DropInterrupts(int count = 1) => new DeviceInterruptLoss(Machine, Device, Require.InRange(count, 1, int.MaxValue));

    /// <summary>The device interrupts for nothing, again and again.</summary>
    /// <param name="period">At least 1 microsecond.</param>
    public Fault Storm(TimeSpan period) =>
        new DeviceStorm(Machine, Device, Require.InRange(period, 1.Microseconds, TimeSpan.FromHours(1)));

    /// <summary>The device serves nothing; what waited goes on when it does.</summary>
    public Fault Hang() => new DeviceHang(Machine, Device);

    /// <summary>The device is pulled out: nothing answers in its place.</summary>
    public Fault Unplug() => new DeviceUnplug(Machine, Device);
}

/// <summary>A fault of one device.</summary>
public abstract record DeviceFault(string Machine, string DeviceName) : MachineFault(Machine)
{
    internal override void RequireTarget(Vm vm) => DeviceNames.IndexOf(vm.Powered.Machine.Devices, DeviceName, vm.Name);

    private protected DeviceTrouble TroubleOf(Struck target) => target.Machine.Device(DeviceName).Trouble;
}

/// <inheritdoc cref="DeviceFaults.DropInterrupts"/>
public sealed record DeviceInterruptLoss(string Machine, string DeviceName, int Count) : DeviceFault(Machine, DeviceName)
{
    internal override bool IsSound => base.IsSound && Count > 0;

    internal override string Strike(Struck target, ref Rng random)
    {
        TroubleOf(target).DropInterrupts(Count);
        return $"device {DeviceName}: {Count} interrupts get lost";
    }
}

/// <inheritdoc cref="DeviceFaults.Storm"/>
/// <param name="Between">From one interrupt to the next.</param>
public sealed record DeviceStorm(string Machine, string DeviceName, TimeSpan Between) : DeviceFault(Machine, DeviceName)
{
    internal override bool IsSound => base.IsSound && Between >= 1.Microseconds && Between <= TimeSpan.FromHours(1);

    internal override string Strike(Struck target, ref Rng random)
    {
        TroubleOf(target).Storm((ulong)Between.TotalNanoseconds);
        return string.Create(CultureInfo.InvariantCulture, $"device {DeviceName}: interrupts every {Between.TotalMicroseconds} us");
    }

    internal override string Lift(Struck target)
    {
        TroubleOf(target).Storm(0);
        return $"device {DeviceName}: interrupts when it has something";
    }
}

/// <inheritdoc cref="DeviceFaults.Hang"/>
public sealed record DeviceHang(string Machine, string DeviceName) : DeviceFault(Machine, DeviceName)
{
    internal override string Strike(Struck target, ref Rng random)
    {
        TroubleOf(target).IsHung = true;
        return $"device {DeviceName}: hangs";
    }

    internal override string Lift(Struck target)
    {
        TroubleOf(target).IsHung = false;
        return $"device {DeviceName}: goes on";
    }
}

/// <inheritdoc cref="DeviceFaults.Unplug"/>
public sealed record DeviceUnplug(string Machine, string DeviceName) : DeviceFault(Machine, DeviceName)
{
    internal override string Strike(Struck target, ref Rng random)
    {
        TroubleOf(target).IsUnplugged = true;
        return $"device {DeviceName}: unplugged";
    }

    internal override string Lift(Struck target)
    {
        TroubleOf(target).IsUnplugged = false;
        return $"device {DeviceName}: plugged in";
    }
}
