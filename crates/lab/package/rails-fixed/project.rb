# frozen_string_literal: true

class Project < ApplicationRecord
  has_many :jobs

  validates :name, presence: true, length: { maximum: 255 }

  scope :newest_first, -> { order(id: :desc) }

  def full_path
    "group/#{name}"
  end

  def visible_to?(user)
    public? || (user.present? && members.include?(user))
  end
end
