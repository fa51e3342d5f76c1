namespace VmLab.Core;

/// <summary>A part of a moment that is more than its fields, such as one that holds pages: it writes and reads itself.</summary>
public interface ISelfWritten<TSelf>
    where TSelf : ISelfWritten<TSelf>
{
    void Write(RecordWriter writer);

    /// <exception cref="LabException">What is there is none.</exception>
    static abstract TSelf Read(RecordReader reader);
}
