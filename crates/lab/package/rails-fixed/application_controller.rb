# frozen_string_literal: true

class ApplicationController < ActionController::Base
  before_action :authenticate_user!

  rescue_from ActiveRecord::RecordNotFound, with: :render_404

  def render_404
    render plain: '404 Not Found', status: :not_found
  end

  def redirect_path
    path = params[:redirect_to].to_s
    path.match?(%r{\A/(?!/)}) ? path : root_path
  end
end
