using VmLab.Devices.Storage;

namespace VmLab;

/// <summary>A disk of a machine, looked at from outside: the guest cannot tell.</summary>
/// <remarks>
/// It shows what the guest would read now, unflushed writes among it; what a guest's file system still holds in memory is
/// not there.
/// </remarks>
public sealed class VmDisk
{
    readonly Vm _vm;

    internal VmDisk(Vm vm, string name) => (_vm, Name) = (vm, name);

    public string Name { get; }

    public ByteSize Size => Drive.Drive.Size;

    /// <summary>Reads that the guest asked for since power-on.</summary>
    public ulong Reads => Drive.Save().Reads;

    /// <summary>Writes and discards that the guest asked for since power-on.</summary>
    public ulong Writes => Drive.Save().Writes;

    /// <summary>Flushes that the guest asked for since power-on.</summary>
    public ulong Flushes => Drive.Save().Flushes;

    /// <summary>Writes that a loss of power may undo.</summary>
    public int UnflushedWrites => Drive.Drive.UnflushedWrites;

    FaultyDrive Drive => _vm.Powered.Machine.Pc.FaultyDrive(Name);

    /// <param name="offset">In bytes, from the disk's first.</param>
    /// <exception cref="LabException">The range is not on the disk, or the image that it started from cannot be read there.</exception>
    public void Read(ulong offset, Span<byte> bytes)
    {
        if (offset > Size.Bytes || (ulong)bytes.Length > Size.Bytes - offset)
            throw new LabException($"{_vm.Name}'s disk \"{Name}\" has {Size.Bytes} bytes: {bytes.Length} from {offset} on are not all there.");
        DiskExport.Read(Drive.Drive, offset, bytes);
    }

    /// <summary>Writes what the disk holds into a new file, or over an old one: qcow2 where the name ends so, else raw bytes.</summary>
    /// <exception cref="LabException">The file cannot be written, or is what a disk of the lab started from.</exception>
    public void Save(string path)
    {
        string full = Path.GetFullPath(path);
        if (_vm.Lab.Fleet.Machines.SelectMany(machine => machine.Devices).OfType<Machines.DiskSpec>().Any(disk => disk.Image == full))
            throw new LabException($"{path} is the image that a disk of this lab starts from: save under another name.");
        DiskExport.Write(Drive.Drive, full);
    }
}
