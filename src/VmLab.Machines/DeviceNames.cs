using System.Collections.Immutable;

namespace VmLab.Machines;

/// <summary>How the devices that a configuration adds are called: disks by their names, others by kind and number.</summary>
public static class DeviceNames
{
    /// <param name="machine">For the message.</param>
    /// <exception cref="LabException">There is no such device.</exception>
    public static int IndexOf(ImmutableArray<DeviceSpec> devices, string name, string machine)
    {
        string[] names = [.. devices.Select((device, i) => NameOf(device, devices.AsSpan(0, i)))];
        int index = Array.IndexOf(names, name);
        return index >= 0 ? index : throw new LabException(
            $"{machine} has no device \"{name}\" but {string.Join(", ", names.DefaultIfEmpty("none"))}.");
    }

    static string NameOf(DeviceSpec device, ReadOnlySpan<DeviceSpec> before)
    {
        if (device is DiskSpec disk) return disk.Name;
        int number = 0;
        foreach (DeviceSpec other in before)
            if (other.GetType() == device.GetType()) number++;
        string kind = device switch
        {
            NicSpec => "nic",
            EntropySpec => "entropy",
            ConsoleSpec => "console",
            _ => "balloon",
        };
        return $"{kind}{number}";
    }
}
